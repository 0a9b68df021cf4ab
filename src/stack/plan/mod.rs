//! The block plan: who owns what, how much memory it takes, what an iteration sends. Made before anything is allocated.
//!
//! A plan is pure and deterministic: it follows from the descriptions, the number of ranks and the options alone, without
//! communication, and a hash checks that all ranks made the same one. What it takes and sends is in `forecast` and `calls`,
//! how it is printed in `show`.

mod calls;
mod forecast;
mod show;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::calls::{Call, Calls, Side};
pub use self::show::human_bytes;
use super::{Assignment, Description};
use crate::comm::{Reduction, Summation};
use crate::error::Fault;
use crate::operator::Basis;
use crate::scalar::Scalar;
use crate::space::{Block, Placement, Shape};

/// Options of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanOptions {
    /// How operators are dealt to ranks.
    pub assignment: Assignment,
    /// How contributions are added.
    pub summation: Summation,
    /// How sums over ranks are made.
    pub reduction: Reduction,
    /// Whether normal operators are merged.
    pub normal: NormalKind,
    /// How many operators of a rank may run at once, on the pool of threads in which the stack is called: each lane has
    /// scratch of its own, and with fast summation a sum of its own, whose last bits depend on the number of lanes. The stack's
    /// groups have as many. None is as good as one.
    pub lanes: usize,
}

impl Default for PlanOptions {
    fn default() -> Self {
        PlanOptions {
            assignment: Assignment::default(),
            summation: Summation::default(),
            reduction: Reduction::default(),
            normal: NormalKind::default(),
            lanes: 1,
        }
    }
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
    /// The rank that builds it and holds what it reads and writes.
    pub owner: usize,
    /// The block of measurements that it adds to.
    #[serde(rename = "adds_to")]
    pub row: usize,
}

/// A block of `x` (a column of the stack), or of the measurements (a row).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it looks like.
    pub shape: Shape,
    /// Where it begins among all numbers of `x`, or of the measurements.
    pub start: usize,
    /// The operators that read it, or add to it, rising.
    pub operators: Vec<usize>,
    /// The ranks that hold it, rising: the owners of these operators. A block that nobody reads is on rank 0.
    pub ranks: Vec<usize>,
}

impl Part {
    fn block(&self, ranks: usize) -> Block {
        Block { shape: self.shape.clone(), placement: Placement::on(&self.ranks, ranks) }
    }
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
    columns: Vec<Part>,
    rows: Vec<Part>,
    domain: Shape,
    ranks: usize,
    scalar: String,
    scalar_bytes: u64,
    ordered: bool,
    lanes: usize,
    /// The basis of the one diagonal that all normal operators are merged into.
    merged: Option<Basis>,
}

impl BlockPlan {
    /// The plan for members of scalar `S` that all read the whole of `x`, on a number of ranks.
    pub fn new<S: Scalar>(members: Vec<Description>, ranks: usize, options: PlanOptions) -> Result<Self, Fault> {
        BlockPlan::with_blocks::<S>(Vec::new(), members, ranks, options)
    }

    /// The plan for members that read blocks of `x`. No blocks: one, the domain of all members.
    pub fn with_blocks<S: Scalar>(
        blocks: Vec<Shape>,
        mut members: Vec<Description>,
        ranks: usize,
        options: PlanOptions,
    ) -> Result<Self, Fault> {
        let Some(first) = members.first() else {
            return Err(Fault::new("the stack has no operators").hint("give at least one"));
        };
        let blocks = if blocks.is_empty() { vec![first.domain.clone()] } else { blocks };
        for (index, member) in members.iter().enumerate() {
            expect_reads(member, &blocks).map_err(|fault| fault.in_operator(index))?;
        }
        let (rows, row_of) = rows_of(&members)?;
        let groups = groups_of(&members);
        let owners = owners_of(&groups, &members, ranks, options.assignment)?;
        let mut readers = vec![Vec::new(); blocks.len()];
        for (index, (member, row)) in members.iter_mut().zip(&row_of).enumerate() {
            // in so many words, so that one problem has one plan, however it was told
            member.reads = member.reads_of(blocks.len());
            member.row = Some(*row);
            member.reads.iter().for_each(|block| readers[*block].push(index));
        }
        let columns = parts(blocks, readers, &owners);
        // without blocks every rank has the whole of x, with operators or without
        let columns = match columns.len() {
            1 => columns.into_iter().map(|column| Part { ranks: (0..ranks).collect(), ..column }).collect(),
            _ => columns,
        };
        let (shapes, writers) = rows.iter().map(|row| (members[row[0]].range.clone(), row.clone())).unzip();
        let basis = members[0].normal.filter(|basis| members.iter().all(|member| member.normal == Some(*basis)));
        let merged =
            basis.filter(|_| options.normal == NormalKind::Auto && columns.len() == 1 && rows.len() == members.len());
        let domain = match columns.as_slice() {
            [one] => one.shape.clone(),
            several => Shape::new([("x", several.iter().map(|column| column.shape.len()).sum())]),
        };
        Ok(BlockPlan {
            rows: parts(shapes, writers, &owners),
            columns,
            entries: (members.into_iter().zip(owners).zip(row_of))
                .map(|((description, owner), row)| Entry { description, owner, row })
                .collect(),
            groups,
            domain,
            ranks,
            scalar: S::NAME.into(),
            scalar_bytes: size_of::<S>() as u64,
            ordered: options.summation == Summation::Ordered,
            lanes: options.lanes.max(1),
            merged,
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
    /// How many operators of a rank may run at once.
    pub fn lanes(&self) -> usize {
        self.lanes
    }
    /// The blocks of `x`.
    pub fn columns(&self) -> &[Part] {
        &self.columns
    }
    /// The blocks of the measurements.
    pub fn rows(&self) -> &[Part] {
        &self.rows
    }
    /// Whether some block of measurements is the sum of several operators'.
    pub fn sums_in_rows(&self) -> bool {
        self.rows.len() < self.entries.len()
    }
    /// Whether the operators that add to a block of measurements all read different blocks of `x`.
    pub fn reads_apart(&self, row: usize) -> bool {
        let operators = &self.rows[row].operators;
        let reads = operators.iter().flat_map(|index| self.entries[*index].description.reads_of(self.columns.len()));
        let mut seen = HashSet::new();
        operators.len() == 1 || reads.into_iter().all(|block| seen.insert(block))
    }
    /// Whether each operator has a block of measurements of its own, in the order of operators.
    pub(super) fn has_rows_in_order(&self) -> bool {
        self.entries.iter().enumerate().all(|(index, entry)| entry.row == index)
    }
    /// The shape of `x`; of an `x` of several blocks all their numbers one after the other.
    pub fn domain(&self) -> &Shape {
        &self.domain
    }
    /// Bytes of one number.
    pub fn scalar_bytes(&self) -> u64 {
        self.scalar_bytes
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
    /// The blocks of the model's space.
    pub fn model_blocks(&self) -> Vec<Block> {
        self.columns.iter().map(|part| part.block(self.ranks)).collect()
    }
    /// The blocks of the data space.
    pub fn data_blocks(&self) -> Vec<Block> {
        // a row of one operator is on its owner, also where there is one rank only
        let block = |part: &Part| match part.ranks.as_slice() {
            [owner] => Block { shape: part.shape.clone(), placement: Placement::On(*owner) },
            _ => part.block(self.ranks),
        };
        self.rows.iter().map(block).collect()
    }
    /// A number that differs if anything in the plan does.
    pub fn hash(&self) -> u64 {
        struct Hashed(DefaultHasher);
        impl std::io::Write for Hashed {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.write(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        // through a buffer: what is hashed comes in pieces of a few bytes
        let mut hashed = std::io::BufWriter::new(Hashed(DefaultHasher::new()));
        let written = serde_json::to_writer(&mut hashed, self).is_ok();
        hashed.into_inner().map_or(0, |Hashed(hasher)| hasher.finish() + u64::from(!written))
    }
}

/// A fault if a member reads what is not there, or another number of numbers than its domain has.
fn expect_reads(member: &Description, blocks: &[Shape]) -> Result<(), Fault> {
    let of = format!("domain of `{}`", member.name);
    let reads = member.reads_of(blocks.len());
    if let Some(missing) = reads.iter().find(|block| **block >= blocks.len()) {
        let text = format!("`{}` reads block {missing} of x, which has {} blocks", member.name, blocks.len());
        return Err(Fault::new(text).hint("blocks count from zero"));
    }
    let mut once = reads.clone();
    once.sort_unstable();
    if let Some(twice) = once.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Fault::new(format!("`{}` reads block {} of x twice", member.name, twice[0])));
    }
    match reads.as_slice() {
        [one] => blocks[*one].expect(&member.domain, &of),
        several => {
            let numbers: usize = several.iter().map(|block| blocks[*block].len()).sum();
            if member.domain.len() == numbers {
                return Ok(());
            }
            let text = format!(
                "{of}: blocks {several:?} of x have {numbers} numbers, {} has {}",
                member.domain,
                member.domain.len()
            );
            Err(Fault::new(text).hint("the domain of an operator that reads several blocks joins them in order"))
        }
    }
}

/// The operators of each row, and the row of each operator.
fn rows_of(members: &[Description]) -> Result<(Vec<Vec<usize>>, Vec<usize>), Fault> {
    if members.iter().all(|member| member.row.is_none()) {
        return Ok(((0..members.len()).map(|index| vec![index]).collect(), (0..members.len()).collect()));
    }
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut row_of = Vec::with_capacity(members.len());
    for (index, member) in members.iter().enumerate() {
        let Some(row) = member.row.filter(|row| *row < members.len()) else {
            let text =
                format!("`{}` names no row, or one beyond the number of operators, {}", member.name, members.len());
            return Err(Fault::new(text).in_operator(index).hint("either all operators name a row or none does"));
        };
        rows.resize(rows.len().max(row + 1), Vec::new());
        if let Some(first) = rows[row].first() {
            let of = format!("range of `{}`, which adds to row {row} as operator {first} does", member.name);
            members[*first].range.expect(&member.range, &of).map_err(|fault| fault.in_operator(index))?;
        }
        rows[row].push(index);
        row_of.push(row);
    }
    match rows.iter().position(Vec::is_empty) {
        Some(empty) => Err(Fault::new(format!("row {empty} of the measurements has no operator"))
            .hint("rows are numbered from zero, without gaps")),
        None => Ok((rows, row_of)),
    }
}

/// Blocks with who reads, or writes, them.
fn parts(shapes: Vec<Shape>, operators: Vec<Vec<usize>>, owners: &[usize]) -> Vec<Part> {
    let mut start = 0;
    let part = |(shape, operators): (Shape, Vec<usize>)| {
        let mut ranks: Vec<usize> = operators.iter().map(|index| owners[*index]).collect();
        ranks.sort_unstable();
        ranks.dedup();
        if ranks.is_empty() {
            ranks.push(0);
        }
        let begin = start;
        start += shape.len();
        Part { shape, start: begin, operators, ranks }
    };
    shapes.into_iter().zip(operators).map(part).collect()
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

/// The owner of each operator: the rank that its group asks for; the other groups are dealt as if they were all.
fn owners_of(
    groups: &[Group],
    members: &[Description],
    ranks: usize,
    assignment: Assignment,
) -> Result<Vec<usize>, Fault> {
    let asked = groups.iter().map(|group| rank_asked(group, members, ranks)).collect::<Result<Vec<_>, _>>()?;
    let cost = |group: &Group| group.operators.iter().map(|index| members[*index].cost).sum();
    let free = groups.iter().zip(&asked).filter(|(_, asked)| asked.is_none());
    let mut dealt = assignment.owners(&free.map(|(group, _)| cost(group)).collect::<Vec<f64>>(), ranks).into_iter();
    let mut owners = vec![0; members.len()];
    for (group, asked) in groups.iter().zip(asked) {
        let owner = asked.or_else(|| dealt.next()).unwrap_or(0);
        group.operators.iter().for_each(|index| owners[*index] = owner);
    }
    Ok(owners)
}

/// The rank that the members of a group ask for, if any of them does.
fn rank_asked(group: &Group, members: &[Description], ranks: usize) -> Result<Option<usize>, Fault> {
    let mut first: Option<(&str, usize)> = None;
    for index in &group.operators {
        let Some(rank) = members[*index].rank else { continue };
        let name = members[*index].name.as_str();
        if rank >= ranks {
            let text = format!("`{name}` asks for rank {rank}, expected one from 0 to {}", ranks.saturating_sub(1));
            let hint = "start as many ranks as are asked for, or ask for fewer";
            return Err(Fault::new(text).in_operator(*index).hint(hint));
        }
        match first {
            Some((other, before)) if before != rank => {
                let text =
                    format!("group `{}`: `{name}` asks for rank {rank}, but `{other}` for rank {before}", group.name);
                return Err(Fault::new(text).in_operator(*index).hint("the members of a group stay on one rank"));
            }
            _ => first = Some((name, rank)),
        }
    }
    Ok(first.map(|(_, rank)| rank))
}
