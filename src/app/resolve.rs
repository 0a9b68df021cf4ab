//! From a config to objects: headers are read, operators are cut into members, members become a plan and a factory.
//!
//! Each step is either done by rank 0 and broadcast (what reads metadata) or is a pure function that all ranks compute
//! alike (what plans), or is done by the owner alone (what builds and reads measurements).

use std::path::Path;

use super::cli::Common;
use crate::comm::{Team, signs};
use crate::config::{Job, Term};
use crate::error::{Error, Fault, Phase};
use crate::io::{Data, FilesIn, Header, Loaded, PhantomParams, Projections};
use crate::operator::LinearOperator;
use crate::physics::ct::Scan;
use crate::physics::{AnyPhysics, Files, Setting, Weighting};
use crate::random::Stream;
use crate::recon::AnyFormula;
use crate::recon::fidelity::AnyFidelity;
use crate::scalar::Scalar;
use crate::space::{Coordinate, Selection, Shape, Tile, Vector};
use crate::stack::{BlockPlan, Description, Factory, PlanOptions, Stack};

/// The dim of data that belong to the operators of a term with `count = N`.
const OPERATOR_DIM: &str = "operator";

/// Up to this part of its shadow an object may fall beside the detector without a warning: a cylinder that fills the model is
/// larger than most objects.
const TRUNCATED: f64 = 0.05;

/// The stream of random numbers that simulated noise is drawn from.
const NOISE: u64 = 0x6e6f_6973;

/// A config with what its files say of themselves, cut into the members of the stack.
pub struct Resolved<'a> {
    /// What the user wrote.
    pub job: &'a Job,
    headers: Vec<Option<Header>>,
    files: FilesIn,
    /// The parts of `x`: its blocks, or the whole.
    windows: Vec<Tile>,
    /// What tells each of them from the others: `, y 1/2, x 2/2`.
    window_names: Vec<String>,
    rows: Vec<RowSpec>,
    members: Vec<MemberSpec>,
}

/// One block of measurements: a part of those of one operator of one term.
pub struct RowSpec {
    term: usize,
    operator: usize,
    /// The part of the operator's range.
    pub tile: Tile,
}

/// One member of the stack: what one part of `x` adds to one block of measurements.
pub struct MemberSpec {
    name: String,
    row: usize,
    window: usize,
    /// Which of all parts of measurements, as `split` cuts them.
    part: usize,
    group: Option<String>,
    rank: Option<usize>,
}

impl<'a> Resolved<'a> {
    /// Reads what the files of all terms say of themselves, and cuts the operators into members.
    ///
    /// Collective: yes; rank 0 reads, all cut alike.
    pub fn open(team: &Team, job: &'a Job, common: &Common) -> Result<Self, Error> {
        Self::open_for(team, job, common, team.size())
    }

    /// As [`open`](Self::open), for another number of ranks.
    pub fn open_for(team: &Team, job: &'a Job, common: &Common, ranks: usize) -> Result<Self, Error> {
        let _sign = signs::during(Phase::Open);
        let data_dir = common.data_dir();
        let headers = team.from_rank_0(|| {
            let header = |term: &Term| match &term.data {
                Some(data) => data.header(&data_dir).map_err(|fault| in_table(term, "data", fault)),
                None => Ok(None),
            };
            job.terms.iter().map(header).collect::<Result<_, _>>().map_err(|fault| fault.in_phase(Phase::Open))
        })?;
        let windows = windows_of(job).map_err(|fault| fault.in_phase(Phase::Plan));
        let (window_names, windows) = team.agree(windows)?.into_iter().unzip();
        let (files, rows, members) = (FilesIn(data_dir), Vec::new(), Vec::new());
        let resolved = Resolved { job, headers, files, windows, window_names, rows, members };
        let resolved = team.agree(resolved.cut(ranks).map_err(|fault| fault.in_phase(Phase::Plan)))?;
        let fits = if team.rank() == 0 { resolved.check_fidelity_files() } else { Ok(()) };
        team.agree(fits.map_err(|fault| fault.in_phase(Phase::Open)))?;
        team.agree(resolved.check_formula().map_err(|fault| fault.in_phase(Phase::Plan)))?;
        if team.rank() == 0 {
            resolved.warn_of_truncation();
        }
        Ok(resolved)
    }

    /// The geometry of the rays of an operator, if its measurements are sums along rays.
    fn scan(&self, place: usize, operator: usize) -> Result<Option<Scan>, Fault> {
        let (term, data) = (&self.job.terms[place], self.data_of_one(place)?);
        let scan = term.operators[operator].scan(&self.setting(place, data.as_ref(), None));
        scan.map_err(|fault| in_table(term, "operator", fault))
    }

    /// Whether the formula of the job, if it has one, applies to the operators.
    fn check_formula(&self) -> Result<(), Fault> {
        let Some(formula) = self.job.solve.formula() else { return Ok(()) };
        let operators = self.job.operators().count();
        if operators > 1 {
            let text =
                format!("`{}` inverts the measurements of one operator, the job has {operators}", formula.kind());
            return Err(Fault::new(text).hint("use an iterative method, such as \"cg\""));
        }
        let scan = self.scan(0, 0)?;
        formula.check(scan.as_ref()).map_err(|fault| in_table(&self.job.terms[0], "operator", fault))
    }

    /// Says which part of the object a detector does not see.
    fn warn_of_truncation(&self) {
        for (place, term) in self.job.terms.iter().enumerate() {
            for operator in 0..term.operators.len() {
                let (Ok(Some(scan)), Ok(data)) = (self.scan(place, operator), self.data_of_one(place)) else {
                    continue;
                };
                let off = scan.truncation(&self.setting(place, data.as_ref(), None));
                for (off, what) in off.into_iter().zip(["rows", "columns"]).filter(|(off, _)| *off > TRUNCATED) {
                    tracing::warn!(
                        "terms.{}: the detector truncates the object: {:.0} % of the shadow of the largest cylinder in the model \
                         {} falls beside its {what}; near the border the result is wrong, unless the object is smaller",
                        term.name,
                        100.0 * off,
                        self.job.model.dims,
                    );
                }
            }
        }
    }

    /// Adds to a part of `x` what a formula makes of the measurements of an operator. Collective: no.
    pub fn invert_add<S: Scalar>(&self, formula: &AnyFormula, index: usize, y: &[S], x: &mut [S]) -> Result<(), Fault> {
        let member = &self.members[index];
        let row = &self.rows[member.row];
        let scan = self.scan(row.term, row.operator)?;
        let scan = scan.ok_or_else(|| Fault::new("there are no rays to invert").in_operator(index))?;
        let done = formula.invert_add(&scan, &self.windows[member.window], &row.tile, y, x);
        done.map_err(|fault| in_table(&self.job.terms[row.term], "operator", fault).in_operator(index))
    }

    /// Checks that a file of a fidelity has the sizes of its term's measurements; reads its header only.
    fn check_fidelity_files(&self) -> Result<(), Fault> {
        for (place, term) in self.job.terms.iter().enumerate() {
            if term.fidelity.as_ref().is_some_and(AnyFidelity::takes_sigma) && self.coordinate(place, "sigma").is_none()
            {
                let text = "`variance = \"data\"`: the data tell no standard deviations (`sigma`)";
                let fault = Fault::new(text).hint("give a file of variances, or leave `variance` out");
                return Err(in_table(term, "fidelity", fault));
            }
            let Some(path) = term.fidelity.as_ref().and_then(AnyFidelity::file) else { continue };
            let (measured, sizes) = (self.measured(place), self.files.sizes(path));
            let sizes = sizes.map_err(|fault| in_table(term, "fidelity", fault))?;
            if sizes != measured.sizes() {
                let text = format!("{} has sizes {sizes:?}, the measurements are {measured}", path.display());
                let fault = Fault::new(text).hint("it has one number for each measurement, in the order of the data");
                return Err(in_table(term, "fidelity", fault));
            }
        }
        Ok(())
    }

    /// What came with the measurements of a term under a name.
    fn coordinate(&self, place: usize, name: &str) -> Option<&Coordinate> {
        self.headers[place].as_ref()?.coordinates.iter().find(|coordinate| coordinate.name == name)
    }

    /// The weight of each visibility of each term in a dirty image. Collective: no.
    pub fn imaging_weights(&self, weighting: Weighting) -> Result<Vec<Coordinate>, Fault> {
        let weights = |(place, term): (usize, &Term)| {
            let [AnyPhysics::Interferometer(params)] = term.operators.as_slice() else {
                return Err(in_table(
                    term,
                    "operator",
                    Fault::new("a dirty image is one of an interferometer's visibilities")
                        .hint("other adjoints: stackphys apply JOB --what adjoint"),
                ));
            };
            let weights = params.weights(&self.setting(place, None, None), weighting);
            weights.map_err(|fault| in_table(term, "data", fault))
        };
        self.job.terms.iter().enumerate().map(weights).collect()
    }

    /// Which of the terms a block of measurements belongs to.
    pub fn place_of(&self, row: usize) -> usize {
        self.rows[row].term
    }

    /// The dims of all measurements of a term: of its data, in their order; where there is no file, of its operators.
    fn measured(&self, place: usize) -> Shape {
        if let Some(header) = &self.headers[place] {
            return header.shape.clone();
        }
        let one = self.rows.iter().find(|row| row.term == place).map(|row| row.tile.of());
        let dims = one.into_iter().flat_map(|shape| shape.dims().iter().map(|dim| (dim.name.clone(), dim.size)));
        let count = self.job.terms[place].count.map(|count| (OPERATOR_DIM.to_owned(), count));
        Shape::new(count.into_iter().chain(dims))
    }

    fn cut(mut self, ranks: usize) -> Result<Self, Fault> {
        let mut parts_before = 0;
        for place in 0..self.job.terms.len() {
            let term = &self.job.terms[place];
            let mut members = Vec::new();
            for operator in 0..term.operators.len() {
                let parts = self.parts_of(place, operator).map_err(|fault| in_table(term, "operator", fault))?;
                for part in parts {
                    members.push(self.members_of(part).map_err(|fault| in_table(term, "operator", fault))?);
                }
            }
            put_in_groups(term, &mut members)?;
            for (part, members) in members.iter_mut().enumerate() {
                members.iter_mut().for_each(|member| member.part = parts_before + part);
            }
            parts_before += members.len();
            self.members.extend(members.into_iter().flatten());
        }
        if let Some(asked) = &self.job.ranks {
            let of = asked.of(parts_before, self.windows.len(), ranks).map_err(|fault| prefixed("ranks: ", fault))?;
            self.members.iter_mut().for_each(|member| member.rank = Some(of[[member.part, member.window]]));
        }
        // all operators of a block of x in a row: dealt out in that order, each rank reads few blocks
        self.members.sort_by_key(|member| member.window);
        self.number_rows();
        Ok(self)
    }

    /// Puts the blocks of measurements into the order in which members first add to them.
    fn number_rows(&mut self) {
        let mut rows: Vec<Option<RowSpec>> = std::mem::take(&mut self.rows).into_iter().map(Some).collect();
        let mut place_of = vec![0; rows.len()];
        for member in &mut self.members {
            if let Some(row) = rows[member.row].take() {
                place_of[member.row] = self.rows.len();
                self.rows.push(row);
            }
            member.row = place_of[member.row];
        }
    }

    /// The parts that `split` cuts an operator into, by name.
    fn parts_of(&self, place: usize, operator: usize) -> Result<Vec<(String, RowSpec)>, Fault> {
        let term = &self.job.terms[place];
        let data = self.data_of_one(place)?;
        let range = term.operators[operator].range(&self.setting(place, data.as_ref(), None))?;
        if let Some(data) = &data {
            same_dims(&range, data)?;
        }
        let mut name = term.name.clone();
        if term.operators.len() > 1 {
            name += &format!(" {operator}");
        }
        let mut parts = vec![(name, Tile::whole(&range))];
        let (may_be_cut, model) = (term.operators[operator].may_be_cut(), term.operators[operator].model_may_be_cut());
        let hint = || format!("this operator may be cut along: {may_be_cut}; the model, by [blocks], along: {model}");
        for (dim, cut) in &term.split {
            let Some(axis) = range.axis(dim) else {
                let text = format!("`split` names dim `{dim}`, the measurements are {range}");
                return Err(Fault::new(text).hint(hint()));
            };
            if !may_be_cut.hold(dim) {
                return Err(Fault::new(format!("dim `{dim}` must stay whole for this operator")).hint(hint()));
            }
            let selections = cut.selections(dim, range.dims()[axis].size);
            parts = with_parts(parts, axis, dim, &selections.map_err(|fault| prefixed("`split`: ", fault))?);
        }
        let row = |(name, tile)| (name, RowSpec { term: place, operator, tile });
        Ok(parts.into_iter().map(row).collect())
    }

    /// What each part of `x` adds to a part of the measurements, and to which.
    fn members_of(&mut self, (name, part): (String, RowSpec)) -> Result<Vec<MemberSpec>, Fault> {
        let RowSpec { term, operator, .. } = part;
        let physics = &self.job.terms[term].operators[operator];
        if let Some(dim) = self.job.blocks.keys().find(|dim| !physics.model_may_be_cut().hold(dim)) {
            let may = physics.model_may_be_cut();
            return Err(Fault::new(format!(
                "[blocks] cuts `{dim}` of the model, which must stay whole for this operator"
            ))
            .hint(format!("it leaves the model to be cut along: {may}")));
        }
        let data = self.data_of_one(term)?;
        let first = self.rows.len();
        let mut members = Vec::new();
        for window in 0..self.windows.len() {
            let setting = self.setting(term, data.as_ref(), Some(window));
            let tiles = physics.contributes(&setting, &part.tile)?;
            let several = tiles.len() > 1;
            for tile in tiles {
                let known = self.rows[first..].iter().position(|row| row.tile == tile);
                let row = known.map_or(self.rows.len(), |at| first + at);
                let mut name = name.clone() + &self.window_names[window];
                if several {
                    name += &format!(", to {}", in_short(&tile));
                }
                if known.is_none() {
                    self.rows.push(RowSpec { term, operator, tile });
                }
                members.push(MemberSpec { name, row, window, part: 0, group: None, rank: None });
            }
        }
        Ok(members)
    }

    /// The dims of the data of one operator of a term.
    fn data_of_one(&self, place: usize) -> Result<Option<Shape>, Fault> {
        let Some(header) = &self.headers[place] else { return Ok(None) };
        let Some(count) = self.job.terms[place].count else { return Ok(Some(header.shape.clone())) };
        let mut dims = header.shape.dims().iter().map(|dim| (dim.name.clone(), dim.size));
        match dims.next() {
            Some((name, size)) if name == OPERATOR_DIM && size == count => Ok(Some(Shape::new(dims))),
            _ => Err(Fault::new(format!(
                "with `count = {count}` the first dim of the data must be `{OPERATOR_DIM}` of size {count}, the data are {}",
                header.shape
            ))
            .hint("the data of all operators are in one file: name its dims, `dims = [ \"operator\", … ]`")),
        }
    }

    fn setting<'s>(&'s self, place: usize, data: Option<&'s Shape>, window: Option<usize>) -> Setting<'s> {
        let header = self.headers[place].as_ref();
        let angles = header.and_then(|header| header.angles.as_deref());
        let coordinates = header.map_or(&[][..], |header| &header.coordinates);
        let window = window.map(|window| &self.windows[window]);
        Setting {
            model: &self.job.model.dims,
            window,
            blocks: &self.windows,
            data,
            angles,
            coordinates,
            files: &self.files,
        }
    }

    fn operator(&self, row: &RowSpec) -> (&Term, &AnyPhysics) {
        let term = &self.job.terms[row.term];
        (term, &term.operators[row.operator])
    }

    /// The term that a block of measurements belongs to.
    pub fn term_of(&self, row: usize) -> &Term {
        &self.job.terms[self.rows[row].term]
    }
    /// The blocks of measurements in the order of the stack.
    pub fn rows(&self) -> &[RowSpec] {
        &self.rows
    }
    /// The blocks of `x` in the order of the stack: which part of it each is.
    pub fn windows(&self) -> &[Tile] {
        &self.windows
    }
    /// Each operator as the config has it, by name, with the blocks of measurements that it was cut into.
    pub fn operator_names(&self) -> Vec<(String, Vec<usize>)> {
        let mut named: Vec<(String, Vec<usize>)> = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let (term, _) = self.operator(row);
            let number = if term.operators.len() > 1 { format!(" {}", row.operator) } else { String::new() };
            let name = format!("{}{number}", term.name);
            match named.iter_mut().find(|(known, _)| *known == name) {
                Some((_, rows)) => rows.push(index),
                None => named.push((name, vec![index])),
            }
        }
        named
    }
    /// The options of the plan.
    pub fn plan_options(&self) -> PlanOptions {
        let run = &self.job.run;
        PlanOptions {
            assignment: run.assignment,
            summation: run.summation,
            reduction: run.reduction,
            normal: self.job.normal.kind,
            lanes: run.lanes.or(run.threads).unwrap_or(1),
        }
    }

    /// How many members the stack has.
    pub fn operators(&self) -> usize {
        self.members.len()
    }

    /// The plan on a number of ranks. Collective: no.
    pub fn plan<S: Scalar>(&self, ranks: usize) -> Result<BlockPlan, Fault> {
        let members =
            (0..self.members.len()).map(|index| Factory::<S>::describe(self, index)).collect::<Result<_, _>>()?;
        BlockPlan::with_blocks::<S>(Factory::<S>::blocks(self), members, ranks, self.plan_options())
    }

    /// The same of a plan that was made already. Collective: yes.
    pub fn build_planned<S: Scalar>(&self, team: Team, plan: BlockPlan) -> Result<Stack<S>, Error> {
        let _sign = signs::during(Phase::Build);
        Stack::build_planned(team, plan, self)
    }

    /// Builds this rank's operators. Collective: yes.
    pub fn build<S: Scalar>(&self, team: Team) -> Result<Stack<S>, Error> {
        let _sign = signs::during(Phase::Build);
        Stack::build(team, self, self.plan_options())
    }

    /// Reads this rank's measurements, or simulates them from a phantom (then the second result is the true image).
    ///
    /// Collective: yes.
    pub fn load<S: Scalar>(&self, stack: &Stack<S>) -> Result<Measurements<S>, Error> {
        let sign = signs::during(Phase::Load);
        let mut y = stack.zero_data();
        let mut loaded = Loaded::default();
        let mut read = || -> Result<(), Fault> {
            for (index, row) in self.rows.iter().enumerate() {
                let (term, _) = self.operator(row);
                let (Some(data), Some(header)) = (&term.data, &self.headers[row.term]) else {
                    if term.data.is_none() {
                        return Err(Fault::new(format!("terms.{}: there is no `data` to solve for", term.name))
                            .hint("give the term a `data` table: { format = \"npy\", path = …, dims = [ … ] }"));
                    }
                    continue;
                };
                if matches!(data, Data::Phantom(_)) {
                    continue; // simulated below
                }
                let Some(block) = y.block_slice_mut(index) else { continue };
                sign.again();
                let done = read_row(data, &self.files.0, header, row.of_several(term), &row.tile, block)
                    .map_err(|fault| in_table(term, "data", fault))?;
                if !stack.speaks_for(index) {
                    continue; // another rank has read it too
                }
                loaded.numbers += done.numbers;
                loaded.clamped += done.clamped;
                loaded.not_finite += done.not_finite;
            }
            Ok(())
        };
        stack.team().agree(read().map_err(|fault| fault.in_phase(Phase::Load)))?;
        let [numbers, clamped, not_finite] =
            stack.team().sum([loaded.numbers as f64, loaded.clamped as f64, loaded.not_finite as f64])?;
        let truth = self.simulate(stack, &mut y)?;
        Ok(Measurements { y, numbers: numbers as u64, clamped: clamped as u64, not_finite: not_finite as u64, truth })
    }

    /// Bytes of the variances that the fidelities of a rank's measurements have.
    pub fn fidelity_bytes(&self, plan: &BlockPlan, rank: usize) -> u64 {
        let has_numbers = |row: &&RowSpec| {
            let fidelity = self.job.terms[row.term].fidelity.as_ref();
            fidelity.is_some_and(|fidelity| fidelity.file().is_some() || fidelity.takes_sigma())
        };
        let here = self.rows.iter().zip(plan.rows()).filter(|(_, part)| part.ranks.binary_search(&rank).is_ok());
        let rows = here.map(|(row, _)| row).filter(has_numbers);
        rows.map(|row| (row.tile.shape().len() * size_of::<f64>()) as u64).sum()
    }

    /// The fidelity of each block of measurements, with what this rank needs of files. Collective: yes.
    pub fn fidelities<S: Scalar>(&self, stack: &Stack<S>) -> Result<Vec<AnyFidelity>, Error> {
        let fidelity = |(index, row): (usize, &RowSpec)| -> Result<AnyFidelity, Fault> {
            let term = &self.job.terms[row.term];
            let mut fidelity = term.fidelity.clone().unwrap_or_default();
            let sigma = self.coordinate(row.term, "sigma").filter(|_| fidelity.takes_sigma());
            if let (Some(sigma), Some(_)) = (sigma, stack.range().local(index)) {
                let of_elements = sigma.of_elements(&row.tile).map_err(|fault| in_table(term, "fidelity", fault))?;
                fidelity.set_numbers(of_elements.iter().map(|sigma| sigma * sigma).collect());
                fidelity.check().map_err(|fault| in_table(term, "fidelity", fault))?;
            }
            if let (Some(path), Some(_)) = (fidelity.file(), stack.range().local(index)) {
                let mut numbers = vec![0.0; row.tile.shape().len()];
                let read = |tile: &Tile, out: &mut [f64]| {
                    let numbers = self.files.read(path, tile)?.into_scalars::<f64>();
                    out.copy_from_slice(&numbers.map_err(|fault| fault.hint("they must be real"))?);
                    Ok(())
                };
                let shape = self.measured(row.term);
                let read = read_by_name(&shape, row.of_several(term), &row.tile, &mut numbers, read);
                let done = read.and_then(|()| {
                    fidelity.set_numbers(numbers);
                    fidelity.check()
                });
                let operator = stack.plan().rows()[index].operators[0];
                done.map_err(|fault| in_table(term, "fidelity", fault).in_operator(operator))?;
            }
            Ok(fidelity)
        };
        let read = self.rows.iter().enumerate().map(fidelity).collect::<Result<_, _>>();
        stack.team().agree(read.map_err(|fault| fault.in_phase(Phase::Load)))
    }

    /// What this rank holds of a phantom. Collective: no.
    pub fn phantom<S: Scalar>(&self, stack: &Stack<S>, params: &PhantomParams) -> Result<Vector<S>, Fault> {
        let mut x = stack.zero_model();
        for (index, window) in self.windows.iter().enumerate() {
            let Some(block) = x.block_slice_mut(index) else { continue };
            for (x, value) in block.iter_mut().zip(params.image(window)?) {
                *x = S::from_f64(value);
            }
        }
        Ok(x)
    }

    /// Fills in the measurements of terms that have a phantom: `A x_true` and noise, drawn by (seed, element).
    fn simulate<S: Scalar>(&self, stack: &Stack<S>, y: &mut Vector<S>) -> Result<Option<Vector<S>>, Error> {
        let team = stack.team();
        let mut truth = None;
        for (place, term) in self.job.terms.iter().enumerate() {
            let Some(Data::Phantom(params)) = &term.data else { continue };
            let x = self.phantom(stack, params);
            let x = team.agree(x.map_err(|fault| in_table(term, "data", fault).in_phase(Phase::Load)))?;
            let mut clean = stack.zero_data();
            match params.projections {
                Projections::Operator => stack.forward(&x, &mut clean)?,
                Projections::Analytic => {
                    let found = self.analytic_projections(params, place, &mut clean);
                    team.agree(found.map_err(|fault| in_table(term, "data", fault).in_phase(Phase::Load)))?;
                }
            }
            let of_term = || self.rows.iter().enumerate().filter(|(_, row)| row.term == place);
            let mut sums = vec![0.0; stack.blocks()];
            for (index, _) in of_term().filter(|(index, _)| stack.speaks_for(*index)) {
                sums[index] = clean.block_slice(index).map_or(0.0, |block| crate::space::dot(block, block));
            }
            team.sum_in_place(&mut sums)?; // one owner each: the same on any number of ranks
            let elements: usize = of_term().map(|(index, _)| stack.range().blocks()[index].shape.len()).sum();
            let sigma = params.noise * (sums.iter().sum::<f64>() / elements as f64).sqrt();
            for (index, _) in of_term() {
                let (Some(block), Some(clean)) = (y.block_slice_mut(index), clean.block_slice_mut(index)) else {
                    continue;
                };
                self.fill_noise(params.seed, index, block);
                let disturbed = term.noise.as_ref().map_or(Ok(()), |noise| noise.disturb(clean, params.seed, index));
                if let Err(fault) = disturbed {
                    let operator = stack.plan().rows()[index].operators[0];
                    team.note(in_table(term, "noise", fault).in_operator(operator).in_phase(Phase::Load));
                }
                // the noise of the phantom, and of the file that it is measured like
                let own = self.coordinate(place, "sigma").map(|own| own.of_elements(&self.rows[index].tile));
                let own = own.transpose().unwrap_or_else(|fault| {
                    team.note(in_table(term, "data", fault).in_phase(Phase::Load));
                    None
                });
                for (at, (y, clean)) in block.iter_mut().zip(clean).enumerate() {
                    let own = own.as_ref().map_or(0.0, |own| own[at]);
                    *y = *clean + S::from_f64(sigma.hypot(own)) * *y;
                }
            }
            team.settle()?;
            truth = Some(x);
        }
        Ok(truth)
    }

    /// The exact integrals along the rays of a term, in this rank's blocks. Collective: no.
    fn analytic_projections<S: Scalar>(
        &self,
        params: &PhantomParams,
        place: usize,
        y: &mut Vector<S>,
    ) -> Result<(), Fault> {
        for (index, row) in self.rows.iter().enumerate().filter(|(_, row)| row.term == place) {
            let Some(block) = y.block_slice_mut(index) else { continue };
            let scan = self.scan(place, row.operator)?.ok_or_else(|| {
                Fault::new("`projections`: this operator has no rays along which to integrate")
                    .hint("leave it out: the phantom's image is then measured by the operator")
            })?;
            for (y, ray) in block.iter_mut().zip(scan.rays(&row.tile)) {
                *y = S::from_f64(scan.voxel_size * params.line_integral(&self.job.model.dims, &ray)?);
            }
        }
        Ok(())
    }

    /// Numbers of unit variance for a block of measurements, drawn by their place in the uncut measurements: however these are
    /// cut, they are the same.
    fn fill_noise<S: Scalar>(&self, seed: u64, row: usize, block: &mut [S]) {
        let RowSpec { term, operator, tile } = &self.rows[row];
        let is_before = |other: &&RowSpec| (other.term, other.operator) < (*term, *operator);
        let mut before = std::collections::BTreeMap::new();
        for other in self.rows.iter().filter(is_before) {
            before.insert((other.term, other.operator), other.tile.of().len());
        }
        let (first, stream) = (before.values().sum::<usize>(), Stream::new(seed, NOISE));
        let mut rest = block;
        for run in tile.runs() {
            let (numbers, after) = rest.split_at_mut(run.len());
            stream.fill_normal((first + run.start) as u64, numbers);
            rest = after;
        }
    }

    /// One line for each data file.
    pub fn about_data(&self) -> impl Iterator<Item = String> + '_ {
        self.job
            .terms
            .iter()
            .zip(&self.headers)
            .filter_map(|(term, header)| header.as_ref().map(|header| format!("{}: {}", term.name, header.about)))
    }
}

impl<S: Scalar> Factory<S> for Resolved<'_> {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn blocks(&self) -> Vec<Shape> {
        match self.job.blocks.is_empty() {
            true => Vec::new(),
            false => self.windows.iter().map(Tile::shape).collect(),
        }
    }

    fn describe(&self, index: usize) -> Result<Description, Fault> {
        let member = &self.members[index];
        let row = &self.rows[member.row];
        let (term, operator) = self.operator(row);
        let data = self.data_of_one(row.term)?;
        let needs = operator
            .needs::<S>(&self.setting(row.term, data.as_ref(), Some(member.window)), &row.tile)
            .map_err(|fault| in_table(term, "operator", fault))?;
        let is_cut = !self.job.blocks.is_empty();
        Ok(Description {
            name: member.name.clone(),
            domain: self.windows[member.window].shape(),
            range: row.tile.shape(),
            reads: if is_cut { vec![member.window] } else { Vec::new() },
            row: is_cut.then_some(member.row),
            bytes: needs.bytes,
            scratch_bytes: needs.scratch_bytes,
            cost: needs.cost,
            normal: operator.normal().filter(|_| !is_cut),
            group: member.group.clone(),
            rank: member.rank,
        })
    }

    fn build(&self, index: usize) -> Result<Box<dyn LinearOperator<S>>, Fault> {
        let member = &self.members[index];
        let row = &self.rows[member.row];
        let (term, operator) = self.operator(row);
        let data = self.data_of_one(row.term)?;
        operator
            .build(&self.setting(row.term, data.as_ref(), Some(member.window)), &row.tile)
            .map_err(|fault| in_table(term, "operator", fault))
    }
}

/// The blocks of `x` that a config asks for, row-major, with what tells them apart; without any the whole.
fn windows_of(job: &Job) -> Result<Vec<(String, Tile)>, Fault> {
    let mut windows = vec![(String::new(), Tile::whole(&job.model.dims))];
    for (axis, dim) in job.model.dims.dims().iter().enumerate() {
        if let Some(cut) = job.blocks.get(&dim.name) {
            let selections = cut.selections(&dim.name, dim.size).map_err(|fault| prefixed("blocks: ", fault))?;
            windows = with_parts(windows, axis, &dim.name, &selections);
        }
    }
    Ok(windows)
}

/// The ranges of the dims that are cut: `y 3..17, x 0..4`.
fn in_short(tile: &Tile) -> String {
    let dims = tile.of().dims().iter().zip(tile.selections());
    let cut = dims.filter(|(dim, selection)| **selection != Selection::all(dim.size));
    let range = |(dim, selection): (&crate::space::Dim, &Selection)| {
        format!("{} {}..{}", dim.name, selection.start, selection.start + selection.count)
    };
    cut.map(range).collect::<Vec<_>>().join(", ")
}

/// Each tile cut along an axis, with the part in its name.
fn with_parts(tiles: Vec<(String, Tile)>, axis: usize, dim: &str, parts: &[Selection]) -> Vec<(String, Tile)> {
    let cut = |(name, tile): (String, Tile)| {
        parts.iter().enumerate().map(move |(part, selection)| {
            (format!("{name}, {dim} {}/{}", part + 1, parts.len()), tile.clone().with(axis, *selection))
        })
    };
    tiles.into_iter().flat_map(cut).collect()
}

/// Puts the members of a term, part by part of its measurements, into as many groups of neighbours as it asks for.
fn put_in_groups(term: &Term, parts: &mut [Vec<MemberSpec>]) -> Result<(), Fault> {
    let Some(groups) = term.groups else { return Ok(()) };
    let count = parts.len();
    if groups > count {
        return Err(Fault::new(format!("terms.{}.groups: {groups} groups of {count} operators", term.name))
            .hint(format!("ask for at most {count} groups, or `split` into more parts")));
    }
    for (index, members) in parts.iter_mut().enumerate() {
        let group = index * groups / count;
        let name = format!("{}, group {}/{groups}", term.name, group + 1);
        members.iter_mut().for_each(|member| member.group = Some(name.clone()));
    }
    Ok(())
}

/// The measurements of this rank, and what was noticed while they were read.
pub struct Measurements<S> {
    /// This rank's blocks.
    pub y: Vector<S>,
    /// Numbers read, over all ranks.
    pub numbers: u64,
    /// Transmissions that were raised to the clamp, over all ranks.
    pub clamped: u64,
    /// Numbers that were not finite and became zero, over all ranks.
    pub not_finite: u64,
    /// The true image, if the measurements were simulated.
    pub truth: Option<Vector<S>>,
}

impl RowSpec {
    /// Which of several operators of a term this is a part of, where their measurements are in one file.
    fn of_several(&self, term: &Term) -> Option<usize> {
        term.count.map(|_| self.operator)
    }
}

/// Reads the part `tile` of an operator's range from a file whose dims may stand in another order.
pub fn read_row<S: Scalar>(
    data: &Data,
    data_dir: &Path,
    header: &Header,
    operator: Option<usize>,
    tile: &Tile,
    out: &mut [S],
) -> Result<Loaded, Fault> {
    read_by_name(&header.shape, operator, tile, out, |in_file, out| data.read(data_dir, in_file, out))
}

/// The part `tile` of an operator's range, by a function that reads parts of `shape`: the same dims in another order, and
/// perhaps one for several operators.
fn read_by_name<S: Scalar, T>(
    shape: &Shape,
    operator: Option<usize>,
    tile: &Tile,
    out: &mut [S],
    read: impl FnOnce(&Tile, &mut [S]) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut in_file = Tile::whole(shape);
    for (axis, dim) in shape.dims().iter().enumerate() {
        let selection = match (tile.selection(&dim.name), operator) {
            (Some(selection), _) => selection,
            (None, Some(index)) if dim.name == OPERATOR_DIM => Selection { start: index, step: 1, count: 1 },
            (None, _) => continue,
        };
        in_file = in_file.with(axis, selection);
    }
    let wanted: Vec<&str> = tile.of().names().collect();
    let found: Vec<&str> = shape.names().filter(|name| tile.of().axis(name).is_some()).collect();
    if wanted == found {
        return read(&in_file, out);
    }
    let mut as_in_file = vec![S::default(); out.len()];
    let loaded = read(&in_file, &mut as_in_file)?;
    let sizes: Vec<usize> = found.iter().map(|name| tile.selection(name).map_or(1, |s| s.count)).collect();
    let order: Vec<usize> = wanted.iter().filter_map(|name| found.iter().position(|other| other == name)).collect();
    let array = ndarray::ArrayViewD::from_shape(sizes, &as_in_file)
        .map_err(|why| Fault::new(format!("the data's dims do not fit: {why}")))?;
    for (out, value) in out.iter_mut().zip(array.permuted_axes(order).iter()) {
        *out = *value;
    }
    Ok(loaded)
}

/// The dims of data and range must be the same by name and size; their order may differ.
fn same_dims(range: &Shape, data: &Shape) -> Result<(), Fault> {
    let same = range.dims().len() == data.dims().len()
        && range.dims().iter().all(|dim| data.size(&dim.name) == Some(dim.size));
    if same {
        return Ok(());
    }
    range.expect(data, "the data do not fit the operator").map_err(|fault| {
        fault.hint("dims are matched by name: check `dims` (npy) or `rows` (data-exchange), and the operator's keys")
    })
}

fn prefixed(before: &str, mut fault: Fault) -> Fault {
    fault.text.insert_str(0, before);
    fault
}

/// Says in which table of which term the trouble is.
fn in_table(term: &Term, table: &str, mut fault: Fault) -> Fault {
    fault.text = format!("terms.{}.{table}: {}", term.name, fault.text);
    fault
}
