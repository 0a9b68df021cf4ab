//! The block plan: who owns what, how much memory it takes, what an iteration sends. Made before anything is allocated.
//!
//! A plan is pure and deterministic: it follows from the descriptions, the number of ranks and the options alone, without
//! communication, and a hash checks that all ranks made the same one.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Assignment, Description, tree};
use crate::comm::{MESSAGE, Reduction, Summation};
use crate::error::Fault;
use crate::operator::Basis;
use crate::scalar::Scalar;
use crate::space::{Block, Placement, SPARE, Shape};

/// Options of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanOptions {
    /// How operators are dealt to ranks.
    pub assignment: Assignment,
    /// How contributions are added.
    pub summation: Summation,
    /// How sums over ranks are made.
    pub reduction: Reduction,
    /// Whether normal operators are merged.
    pub normal: NormalKind,
}

/// How `AᴴA` of a stack is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NormalKind {
    /// As one diagonal where that of all members is diagonal in the same basis: then nothing is sent. Member by member
    /// otherwise.
    #[default]
    Auto,
    /// Member by member.
    Members,
}

/// Members that stay together on one rank and are solved as one where operators are solved by themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What the descriptions call it; of a member without a group, its own name.
    pub name: String,
    /// Its members, rising.
    pub operators: Vec<usize>,
}

impl Group {
    /// A fault of the group's own stack as one of the whole stack: its operators are counted from zero there.
    pub(crate) fn fault_of(&self, mut fault: Fault) -> Fault {
        let place = fault.operator.unwrap_or(0);
        fault.operator = self.operators.get(place).copied();
        fault
    }
}

/// One operator of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What it looks like.
    #[serde(flatten)]
    pub description: Description,
    /// The rank that builds it and holds its measurements.
    pub owner: usize,
    /// Where its measurements begin among all measurements.
    pub start: usize,
}

/// Who owns what, bytes per rank, messages and bytes per iteration.
///
/// Collective: no. Faults: no operators; members that disagree on the domain.
///
/// ```
/// use stackphys::{Shape, stack::{BlockPlan, Description}};
/// let (image, data) = (Shape::new([("x", 100)]), Shape::new([("row", 30)]));
/// let members = (0..5).map(|i| Description::new(format!("part {i}"), image.clone(), data.clone())).collect();
/// let plan = BlockPlan::new::<f32>(members, 2, Default::default()).unwrap();
/// assert_eq!(plan.owners(), [0, 0, 0, 1, 1]);
/// assert_eq!(plan.data_bytes(1), 2 * 30 * 4);
/// println!("{plan}");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockPlan {
    entries: Vec<Entry>,
    groups: Vec<Group>,
    domain: Shape,
    ranks: usize,
    scalar: String,
    scalar_bytes: u64,
    ordered: bool,
    /// The basis of the one diagonal that all normal operators are merged into.
    merged: Option<Basis>,
}

impl BlockPlan {
    /// The plan for members of scalar `S` on a number of ranks.
    pub fn new<S: Scalar>(members: Vec<Description>, ranks: usize, options: PlanOptions) -> Result<Self, Fault> {
        let Some(first) = members.first() else {
            return Err(Fault::new("the stack has no operators").hint("give at least one"));
        };
        let domain = first.domain.clone();
        for (index, member) in members.iter().enumerate() {
            let of = format!("domain of `{}`", member.name);
            domain.expect(&member.domain, &of).map_err(|fault| fault.in_operator(index))?;
        }
        let groups = groups_of(&members);
        let cost = |group: &Group| group.operators.iter().map(|index| members[*index].cost).sum();
        let of_groups = options.assignment.owners(&groups.iter().map(cost).collect::<Vec<f64>>(), ranks);
        let mut owners = vec![0; members.len()];
        for (group, owner) in groups.iter().zip(of_groups) {
            group.operators.iter().for_each(|index| owners[*index] = owner);
        }
        let basis = first.normal.filter(|basis| members.iter().all(|member| member.normal == Some(*basis)));
        let mut start = 0;
        let entries = members
            .into_iter()
            .zip(owners)
            .map(|(description, owner)| {
                let entry = Entry { start, owner, description };
                start += entry.description.range.len();
                entry
            })
            .collect();
        Ok(BlockPlan {
            entries,
            groups,
            domain,
            ranks,
            scalar: S::NAME.into(),
            scalar_bytes: size_of::<S>() as u64,
            ordered: options.summation == Summation::Ordered,
            merged: basis.filter(|_| options.normal == NormalKind::Auto),
        })
    }

    /// The operators in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
    /// The groups in the order of their first operators; an operator without a group is one by itself.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }
    /// The basis of the one diagonal that all normal operators are merged into, if they are: then `AᴴA` sends nothing.
    pub fn merged(&self) -> Option<Basis> {
        self.merged
    }
    /// The shape of `x`.
    pub fn domain(&self) -> &Shape {
        &self.domain
    }
    /// How many ranks it is for.
    pub fn ranks(&self) -> usize {
        self.ranks
    }
    /// The owner of each operator.
    pub fn owners(&self) -> Vec<usize> {
        self.entries.iter().map(|entry| entry.owner).collect()
    }
    /// The operators of one rank.
    pub fn owned_by(&self, rank: usize) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate().filter(move |(_, entry)| entry.owner == rank)
    }
    /// The blocks of the data space.
    pub fn data_blocks(&self) -> Vec<Block> {
        let block =
            |entry: &Entry| Block { shape: entry.description.range.clone(), placement: Placement::On(entry.owner) };
        self.entries.iter().map(block).collect()
    }
    /// A number that differs if anything in the plan does.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(self).unwrap_or_default().hash(&mut hasher);
        hasher.finish()
    }

    /// Bytes of one vector of the model, which every rank holds.
    pub fn model_bytes(&self) -> u64 {
        (self.domain.len() + SPARE) as u64 * self.scalar_bytes
    }
    /// Bytes of the measurements of one rank.
    pub fn data_bytes(&self, rank: usize) -> u64 {
        self.owned_by(rank).map(|(_, entry)| entry.description.range.len() as u64 * self.scalar_bytes).sum()
    }
    /// Bytes of the operators of one rank, once built, and of the normal operator that they are merged into.
    pub fn operator_bytes(&self, rank: usize) -> u64 {
        let merged = self.merged.map_or(0, |basis| basis.bytes(self.domain.len(), self.real_bytes()));
        merged + self.owned_by(rank).map(|(_, entry)| entry.description.bytes).sum::<u64>()
    }
    /// Whether its members were put into it by name.
    fn is_named(&self, group: &Group) -> bool {
        group.operators.iter().any(|index| self.entries[*index].description.group.is_some())
    }
    fn real_bytes(&self) -> u64 {
        if self.scalar.starts_with("complex") { self.scalar_bytes / 2 } else { self.scalar_bytes }
    }
    /// Bytes of scratch of one rank: its largest measurement block, what its operators ask for, and what a sum over ranks
    /// needs beside its result.
    pub fn scratch_bytes(&self, rank: usize) -> u64 {
        let largest =
            |f: fn(&Description) -> u64| self.owned_by(rank).map(|(_, e)| f(&e.description)).max().unwrap_or(0);
        let block = largest(|description| description.range.len() as u64) * self.scalar_bytes;
        block + largest(|description| description.scratch_bytes) + self.sum_bytes(rank)
    }

    fn sum_bytes(&self, rank: usize) -> u64 {
        let message = |elements: usize| self.domain.len().min(elements) as u64 * self.scalar_bytes;
        if !self.ordered {
            return if self.ranks > 1 { message(MESSAGE) } else { 0 };
        }
        let subtrees = tree::subtrees(&self.owners());
        let mine = subtrees.iter().filter(|subtree| subtree.owner == rank);
        let depth = mine.clone().map(|subtree| subtree.len().next_power_of_two().trailing_zeros()).max().unwrap_or(0);
        if self.ranks == 1 {
            return u64::from(depth) * self.model_bytes();
        }
        let to_send = mine.count() as u64;
        let to_combine = subtrees.len().div_ceil(self.ranks) as u64;
        // the first subtree's sum lies in the result
        (to_send.saturating_sub(1) + u64::from(depth)) * self.model_bytes()
            + (to_send + to_combine + 1) * message(tree::CHUNK)
    }

    /// Calls that the sum of one model-length vector takes by messages, and bytes that one rank puts into them. In memory
    /// that the ranks share it is one call and no bytes: see [`Frame::reduction`](super::Frame::reduction).
    pub fn reduction(&self, rank: usize) -> (u64, u64) {
        let model = self.domain.len() as u64 * self.scalar_bytes;
        if !self.ordered {
            return (1, model + SPARE as u64 * self.real_bytes());
        }
        let mine = tree::subtrees(&self.owners()).iter().filter(|subtree| subtree.owner == rank).count() as u64;
        let slice = tree::slice(self.domain.len(), self.ranks, rank).len() as u64 * self.scalar_bytes;
        let chunks = self.domain.len().div_ceil(tree::CHUNK) as u64;
        (2 * chunks + 1, mine * model + slice + SPARE as u64 * 8)
    }
}

fn groups_of(members: &[Description]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut place_of: HashMap<&str, usize> = HashMap::new();
    for (index, member) in members.iter().enumerate() {
        let group = member.group.as_deref();
        let place = group.map_or(groups.len(), |name| *place_of.entry(name).or_insert(groups.len()));
        match groups.get_mut(place) {
            Some(group) => group.operators.push(index),
            None => groups.push(Group { name: group.unwrap_or(&member.name).to_owned(), operators: vec![index] }),
        }
    }
    groups
}

/// How many operators a printed plan shows one by one.
const SHOWN: usize = 48;

impl fmt::Display for BlockPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data: u64 = (0..self.ranks).map(|rank| self.data_bytes(rank)).sum();
        writeln!(
            f,
            "{} operators on {} rank{}; x {} {} ({}); all measurements {}",
            self.entries.len(),
            self.ranks,
            if self.ranks == 1 { "" } else { "s" },
            self.domain,
            self.scalar,
            human_bytes(self.model_bytes()),
            human_bytes(data),
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "{:>8}  {:<28} {:<34} {:>5} {:>11} {:>7}",
            "operator", "name", "measurements", "owner", "bytes", "cost"
        )?;
        let total: f64 = self.entries.iter().map(|entry| entry.description.cost).sum();
        for (index, Entry { description, owner, .. }) in self.entries.iter().enumerate() {
            let hidden = self.entries.len().saturating_sub(SHOWN);
            if hidden > 0 && (SHOWN / 2..SHOWN / 2 + hidden).contains(&index) {
                if index == SHOWN / 2 {
                    writeln!(f, "{:>8}  … {hidden} more", "")?;
                }
                continue;
            }
            let bytes = human_bytes(description.range.len() as u64 * self.scalar_bytes);
            let share = 100.0 * description.cost / total;
            let (name, range) = (&description.name, description.range.to_string());
            writeln!(f, "{index:>8}  {name:<28} {range:<34} {owner:>5} {bytes:>11} {share:>6.1}%")?;
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
            "{:>8}  {:>9} {:>12} {:>12} {:>12} {:>8} {:>20}",
            "rank", "operators", "measurements", "operators", "scratch", "cost", "sent per reduction"
        )?;
        for rank in 0..self.ranks {
            let cost: f64 = self.owned_by(rank).map(|(_, entry)| entry.description.cost).sum();
            let (calls, bytes) = self.reduction(rank);
            writeln!(
                f,
                "{rank:>8}  {:>9} {:>12} {:>12} {:>12} {:>7.1}% {:>20}",
                self.owned_by(rank).count(),
                human_bytes(self.data_bytes(rank)),
                human_bytes(self.operator_bytes(rank)),
                human_bytes(self.scratch_bytes(rank)),
                100.0 * cost / total,
                format!("{calls} × {}", human_bytes(bytes / calls)),
            )?;
        }
        Ok(())
    }
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
