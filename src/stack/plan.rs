//! The block plan: who owns what, how much memory it takes, what an iteration sends. Made before anything is allocated.
//!
//! A plan is pure and deterministic: it follows from the descriptions, the number of ranks and the options alone, without
//! communication, and a hash checks that all ranks made the same one.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Assignment, Description, lanes, tree};
use crate::comm::{MESSAGE, Reduction, Summation};
use crate::error::Fault;
use crate::operator::Basis;
use crate::scalar::Scalar;
use crate::space::{Block, Placement, SPARE, Shape};

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

impl Part {
    fn block(&self, ranks: usize) -> Block {
        Block { shape: self.shape.clone(), placement: Placement::on(&self.ranks, ranks) }
    }
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
        let mut seen = std::collections::HashSet::new();
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

    /// Bytes of one vector of the model on a rank.
    pub fn model_bytes(&self, rank: usize) -> u64 {
        (self.held(&self.columns, rank) + SPARE) as u64 * self.scalar_bytes
    }
    /// Bytes of the measurements on a rank.
    pub fn data_bytes(&self, rank: usize) -> u64 {
        self.held(&self.rows, rank) as u64 * self.scalar_bytes
    }
    /// Numbers that a rank holds of some blocks.
    fn held(&self, parts: &[Part], rank: usize) -> usize {
        let here = parts.iter().filter(|part| part.ranks.binary_search(&rank).is_ok());
        here.map(|part| part.shape.len()).sum()
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
    /// Bytes of scratch of one rank: for each of its lanes the largest measurement block and what operators ask for, and what a
    /// sum over operators needs beside its result.
    pub fn scratch_bytes(&self, rank: usize) -> u64 {
        let here: Vec<&Description> = self.owned_by(rank).map(|(_, entry)| &entry.description).collect();
        let largest =
            |of: &[&Description], bytes: fn(&Description) -> u64| of.iter().map(|d| bytes(d)).max().unwrap_or(0);
        let of_lane = |run: Range<usize>| {
            let block = largest(&here[run.clone()], |description| description.range.len() as u64) * self.scalar_bytes;
            block + largest(&here[run], |description| description.scratch_bytes)
        };
        self.lane_runs(rank).into_iter().map(of_lane).sum::<u64>() + self.sum_bytes(rank)
    }

    /// The operators of each lane of a rank, by their places among the rank's.
    fn lane_runs(&self, rank: usize) -> Vec<Range<usize>> {
        lanes::runs(&self.owned_by(rank).map(|(_, entry)| entry.description.cost).collect::<Vec<_>>(), self.lanes)
    }

    fn sum_bytes(&self, rank: usize) -> u64 {
        if self.columns.len() > 1 {
            return self.block_sum_bytes(rank);
        }
        let message = |elements: usize| self.domain.len().min(elements) as u64 * self.scalar_bytes;
        let runs = self.lane_runs(rank);
        if !self.ordered {
            // the first lane adds to the result
            let of_lanes = (runs.len() as u64 - 1) * self.model_bytes(rank);
            return of_lanes + if self.ranks > 1 { message(MESSAGE) } else { 0 };
        }
        let subtrees = tree::subtrees(&self.owners());
        let mine = subtrees.iter().filter(|subtree| subtree.owner == rank);
        let log2 = |count: usize| count.next_power_of_two().trailing_zeros();
        let depth = if runs.len() == 1 {
            mine.clone().map(|subtree| log2(subtree.len())).max().unwrap_or(0)
        } else {
            // a sum for each node of a lane, partial ones below it, and above
            let operators: Vec<usize> = self.owned_by(rank).map(|(index, _)| index).collect();
            let lane_of = |index| {
                let place = operators.binary_search(&index).unwrap_or_default();
                runs.partition_point(|run| run.end <= place)
            };
            let nodes = tree::nodes_of_lanes(&operators, mine.clone(), lane_of);
            let of_lane = |lane| nodes.iter().filter(move |node| node.owner == lane).map(|node| log2(node.len())).max();
            let below: u32 = (0..runs.len()).filter_map(of_lane).sum();
            nodes.len() as u32 + below + log2(nodes.len()).saturating_sub(1)
        };
        if self.ranks == 1 {
            return u64::from(depth) * self.model_bytes(rank);
        }
        let to_send = mine.count() as u64;
        let to_combine = subtrees.len().div_ceil(self.ranks) as u64;
        // the first subtree's sum lies in the result
        (to_send.saturating_sub(1) + u64::from(depth)) * self.model_bytes(rank)
            + (to_send + to_combine + 1) * message(tree::CHUNK)
    }

    /// What sums of blocks need beside their result: ordered ones the sum and the depth of the tree for each block.
    fn block_sum_bytes(&self, rank: usize) -> u64 {
        if !self.ordered {
            return 0;
        }
        let depth = |part: &Part| u64::from(part.operators.len().next_power_of_two().trailing_zeros());
        let of_block = |part: &Part| (1 + depth(part)) * part.shape.len() as u64 * self.scalar_bytes;
        self.columns.iter().filter(|part| part.ranks.binary_search(&rank).is_ok()).map(of_block).sum()
    }

    /// Calls that complete the blocks of one side of the stack, among the ranks that share them, and bytes that one rank puts
    /// into them.
    fn block_reduction(&self, parts: &[Part], rank: usize) -> (u64, u64) {
        let (mut calls, mut bytes) = (0, 0);
        let mut before: Option<&Part> = None;
        for part in parts {
            if part.ranks.len() > 1 && part.ranks.binary_search(&rank).is_ok() {
                let numbers = part.shape.len();
                if self.ordered {
                    let owners: Vec<usize> = part.operators.iter().map(|index| self.entries[*index].owner).collect();
                    let mine = tree::subtrees(&owners).iter().filter(|subtree| subtree.owner == rank).count();
                    calls += 2 * numbers.div_ceil(tree::CHUNK) as u64 + 1;
                    bytes += ((mine * numbers + numbers / part.ranks.len()) as u64) * self.scalar_bytes;
                } else {
                    // neighbours that the same ranks share go in one call
                    calls += u64::from(before.is_none_or(|before| before.ranks != part.ranks));
                    bytes += numbers as u64 * self.scalar_bytes;
                }
            }
            before = Some(part);
        }
        (calls, bytes)
    }

    /// Calls of one `A x` by messages, and bytes that one rank puts into them: none, unless operators of several ranks add to
    /// the same measurements.
    pub fn forward_sends(&self, rank: usize) -> (u64, u64) {
        self.block_reduction(&self.rows, rank)
    }

    /// Calls that the sum of one model-length vector takes by messages, and bytes that one rank puts into them. In memory
    /// that the ranks share it is one call and no bytes: see [`Frame::reduction`](super::Frame::reduction). Of an `x` that is
    /// cut the sums of the blocks that the rank shares with others.
    pub fn reduction(&self, rank: usize) -> (u64, u64) {
        if self.columns.len() > 1 {
            return self.block_reduction(&self.columns, rank);
        }
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
