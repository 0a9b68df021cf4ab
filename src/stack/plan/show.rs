//! A plan as a person reads it.

use std::fmt;

use super::{BlockPlan, Entry, Group};

/// How many operators, and how many ranks, a printed plan shows one by one.
const SHOWN: usize = 48;

/// Which of so many lines are shown: all, or the first and the last with one gap between them.
fn shown(count: usize) -> impl Iterator<Item = Option<usize>> {
    let gap = if count > SHOWN { SHOWN / 2..count - SHOWN / 2 } else { 0..0 };
    (0..gap.start).map(Some).chain((!gap.is_empty()).then_some(None)).chain((gap.end..count).map(Some))
}

impl fmt::Display for BlockPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data: usize = self.rows.iter().map(|row| row.shape.len() * row.ranks.len()).sum();
        writeln!(
            f,
            "{} operators on {} rank{}{}; x {} {} ({}); all measurements {}",
            self.entries.len(),
            self.ranks,
            if self.ranks == 1 { "" } else { "s" },
            if self.lanes == 1 { String::new() } else { format!(" of {} lanes", self.lanes) },
            self.domain,
            self.scalar,
            human_bytes(self.domain.len() as u64 * self.scalar_bytes),
            human_bytes(data as u64 * self.scalar_bytes),
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "{:>8}  {:<28} {:<34} {:>5} {:>11} {:>7}",
            "operator", "name", "measurements", "owner", "bytes", "cost"
        )?;
        let total: f64 = self.entries.iter().map(|entry| entry.description.cost).sum();
        for index in shown(self.entries.len()) {
            let Some(index) = index else {
                writeln!(f, "{:>8}  … {} more", "", self.entries.len() - SHOWN)?;
                continue;
            };
            let Entry { description, owner, .. } = &self.entries[index];
            let bytes = human_bytes(description.range.len() as u64 * self.scalar_bytes);
            let share = 100.0 * description.cost / total;
            let (name, range) = (&description.name, description.range.to_string());
            writeln!(f, "{index:>8}  {name:<28} {range:<34} {owner:>5} {bytes:>11} {share:>6.1}%")?;
        }
        if self.columns.len() > 1 {
            self.show_blocks(f)?;
        }
        for group in self.groups.iter().filter(|group| self.is_named(group)).take(SHOWN) {
            let numbers: Vec<String> = group.operators.iter().map(usize::to_string).collect();
            writeln!(f, "{:>8}  {}: operators {}", "group", group.name, numbers.join(", "))?;
        }
        if let Some(basis) = self.merged {
            writeln!(f, "\nAᴴA of all operators is merged into one, {basis}: its application sends nothing")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:>8}  {:>9} {:>12} {:>12} {:>12} {:>8} {:>18} {:>18}",
            "rank", "operators", "x", "measurements", "operators", "cost", "A x sends", "Aᴴ y sends"
        )?;
        let sends = |(calls, bytes): (u64, u64)| match calls {
            0 => "nothing".to_owned(),
            _ => format!("{calls} × {}", human_bytes(bytes / calls)),
        };
        for rank in shown(self.ranks) {
            let Some(rank) = rank else {
                writeln!(f, "{:>8}  … {} more", "", self.ranks - SHOWN)?;
                continue;
            };
            let cost: f64 = self.owned_by(rank).map(|(_, entry)| entry.description.cost).sum();
            writeln!(
                f,
                "{rank:>8}  {:>9} {:>12} {:>12} {:>12} {:>7.1}% {:>18} {:>18}",
                self.owned_by(rank).count(),
                human_bytes(self.model_bytes(rank)),
                human_bytes(self.data_bytes(rank)),
                human_bytes(self.operator_bytes(rank)),
                100.0 * cost / total,
                sends(self.forward_sends(rank)),
                sends(if self.ranks == 1 { (0, 0) } else { self.reduction(rank) }),
            )?;
        }
        Ok(())
    }
}

impl BlockPlan {
    /// Whether its members were put into it by name.
    fn is_named(&self, group: &Group) -> bool {
        group.operators.iter().any(|index| self.entries[*index].description.group.is_some())
    }

    /// The blocks of `x`: who reads them, who holds them.
    fn show_blocks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:>8}  {:<28} {:>12} {:>14} {:>16}", "block", "of x", "bytes", "operators", "ranks")?;
        for (index, part) in self.columns.iter().enumerate().take(SHOWN) {
            let (shape, bytes) = (part.shape.to_string(), human_bytes(part.shape.len() as u64 * self.scalar_bytes));
            let (readers, ranks) = (in_short(&part.operators), in_short(&part.ranks));
            writeln!(f, "{index:>8}  {shape:<28} {bytes:>12} {readers:>14} {ranks:>16}")?;
        }
        let hidden = self.columns.len().saturating_sub(SHOWN);
        if hidden > 0 { writeln!(f, "{:>8}  … {hidden} more", "") } else { Ok(()) }
    }
}

/// Rising numbers as runs: `0-11, 13`; where there are many runs, how many numbers.
fn in_short(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    if runs.len() > 3 {
        return format!("{} of them", numbers.len());
    }
    let run =
        |(first, last): &(usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let runs: Vec<String> = runs.iter().map(run).collect();
    if runs.is_empty() { "none".to_owned() } else { runs.join(", ") }
}

/// Bytes as a person reads them.
pub fn human_bytes(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.2} {}", units[unit]) }
}
