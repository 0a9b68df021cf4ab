//! Promises about numbers that move between ranks: transfers of blocks (rows T29, T30 of the acceptance table), margins of
//! parts from their neighbours, and a blur that is made in parts.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ndarray::Array1;
use num_complex::Complex;
use stackphys::comm::{Beyond, Comm, Halo, Kind, Margin, Solo, Summation, Team, Traffic, Transfer};
use stackphys::operator::{Apply, Work};
use stackphys::random::Stream;
use stackphys::space::{Block, Partition, Placement, Space, Vector, dot};
use stackphys::stack::{Factory, PlanOptions};
use stackphys::{Error, Fault, Scalar, Shape};

use super::promises::{Promise, tolerance};
use super::*;

/// These promises by name.
pub const ALL: &[Promise] = &[
    ("T29 roles and transfers", t29_roles_and_transfers),
    ("T30 transfer operator", t30_transfer_operator),
    ("T30 wrong residency", t30_wrong_residency),
    ("a transfer of copies is its definition", a_transfer_of_copies_is_its_definition),
    ("a transfer that cannot be planned is told", a_transfer_that_cannot_be_planned_is_told),
    ("long messages arrive whole", long_messages_arrive_whole),
    ("a halo is its definition", a_halo_is_its_definition),
    ("the adjoint of a halo adds the margins back", the_adjoint_of_a_halo_adds_the_margins_back),
    ("a halo sends one message to each neighbour", a_halo_sends_one_message_to_each_neighbour),
    ("faults around a halo", faults_around_a_halo),
    ("a delayed rank delays its neighbours only", a_delayed_rank_delays_its_neighbours_only),
    ("a blur in parts is the blur of the whole", a_blur_in_parts_is_the_blur_of_the_whole),
    ("groups of operators times parts", groups_of_operators_times_parts),
];

fn line(size: usize) -> Shape {
    Shape::new([("x", size)])
}

/// A space of lines of some sizes, each among some ranks.
fn space_of(team: &Team, blocks: &[(usize, Vec<usize>)]) -> Arc<Space> {
    let block = |(size, ranks): &(usize, Vec<usize>)| Block {
        shape: line(*size),
        placement: Placement::on(ranks, team.size()),
    };
    Space::new(blocks.iter().map(block).collect(), team.rank())
}

fn normal<S: Scalar>(space: &Arc<Space>, stream: u64) -> Vector<S> {
    let mut vector = Vector::zeros(space);
    vector.fill_normal(&Stream::new(2026, stream));
    vector
}

fn nan<S: Scalar>(space: &Arc<Space>) -> Vector<S> {
    let mut vector = Vector::zeros(space);
    vector.fill(S::from_parts(f64::NAN, f64::NAN));
    vector
}

/// What all ranks have sent as messages so far.
fn sent(team: &Team) -> Traffic {
    let Traffic { calls, bytes } = team.meter().of(Kind::Message);
    let [calls, bytes] = team.sum([calls as f64, bytes as f64]).unwrap();
    Traffic { calls: calls as u64, bytes: bytes as u64 }
}

fn since(now: Traffic, before: Traffic) -> Traffic {
    Traffic { calls: now.calls - before.calls, bytes: now.bytes - before.bytes }
}

/// Four tiles: rank 0 holds what they read and what they make, ranks 0 to 3 compute.
fn t29_roles_and_transfers(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    let (reads, makes) = ([5, 3, 7, 2], [4, 6, 1, 8]);
    let at_0 = |sizes: [usize; 4]| space_of(&team, &sizes.map(|size| (size, vec![0])));
    let compute = |sizes: [usize; 4]| {
        let tiles: Vec<_> = (0..4).map(|tile| (sizes[tile], vec![tile % team.size()])).collect();
        space_of(&team, &tiles)
    };
    let there = Transfer::<f64>::new(&team, &at_0(reads), &compute(reads)).unwrap();
    let back = Transfer::<f64>::new(&team, &compute(makes), &at_0(makes)).unwrap();

    // what is planned is known before anything is sent, on all ranks
    let planned = |transfer: &Transfer<f64>| -> Vec<_> {
        transfer.moves().iter().map(|message| (message.block, message.from, message.to, message.bytes)).collect()
    };
    let elsewhere = || (0..4).map(|tile| (tile, tile % comm.size())).filter(|(_, rank)| *rank != 0);
    let out: Vec<_> = elsewhere().map(|(tile, rank)| (tile, 0, rank, 8 * reads[tile] as u64)).collect();
    assert_eq!(planned(&there), out);
    assert_eq!(planned(&back), elsewhere().map(|(t, rank)| (t, rank, 0, 8 * makes[t] as u64)).collect::<Vec<_>>());
    if team.size() == 4 {
        let lines = "block 1: rank 0 → 1, 24 bytes\n  block 2: rank 0 → 2, 56 bytes\n  block 3: rank 0 → 3, 16 bytes\n";
        assert_eq!(there.to_string(), format!("3 messages, 96 bytes\n  {lines}"));
    }
    assert_eq!(team.meter().of(Kind::Message).calls, 0);

    let x = normal::<f64>(there.domain(), 1);
    let (mut here, mut made) = (nan(there.range()), nan(back.domain()));
    let mut y = nan(back.range());
    there.forward(&team, &x, &mut here).unwrap();
    let before = sent(&team);
    assert_eq!(before, Traffic { calls: out.len() as u64, bytes: out.iter().map(|message| message.3).sum() });
    let tile = |tile: usize| dense::<f64>(makes[tile], reads[tile], tile as u64);
    for index in 0..4 {
        if let (Some(x), Some(y)) = (here.block_slice(index), made.block_slice_mut(index)) {
            tile(index).forward(x, y, &mut Work::default()).unwrap();
        }
    }
    back.forward(&team, &made, &mut y).unwrap();
    let bytes = elsewhere().map(|(tile, _)| 8 * makes[tile] as u64).sum();
    assert_eq!(since(sent(&team), before), Traffic { calls: out.len() as u64, bytes });
    for (index, len) in makes.into_iter().enumerate() {
        if let (Some(x), Some(y)) = (x.block_slice(index), y.block_slice(index)) {
            let mut expected = vec![0.0; len];
            tile(index).forward(x, &mut expected, &mut Work::default()).unwrap();
            assert_eq!(y, expected);
        }
    }
}

fn t30_transfer_operator(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let team = Team::new(comm.clone());
        let last = team.size() - 1;
        let blocks =
            |ranks: [usize; 4]| -> Vec<_> { [3, 5, 1, 4].into_iter().zip(ranks.map(|rank| vec![rank])).collect() };
        let (from, to) =
            (space_of(&team, &blocks([0, last, 0, last / 2])), space_of(&team, &blocks([last, 0, 0, last])));
        let transfer = Transfer::<S>::new(&team, &from, &to).unwrap();
        let expected = normal::<S>(&to, 3); // drawn by the place in the whole: the same numbers elsewhere
        let mut x = normal::<S>(&from, 3);
        let (mut y, mut back) = (nan::<S>(&to), nan::<S>(&from));
        transfer.forward(&team, &x, &mut y).unwrap();
        x.fill(S::from_f64(7.0)); // the source is overwritten right after the call (D9)
        assert_eq!(bytes(y.as_slice()), bytes(expected.as_slice()));
        let forward = sent(&team);

        let mut source = y.clone();
        transfer.adjoint_unsettled(&team, &source, &mut back);
        source.fill(S::from_f64(7.0));
        team.settle().unwrap();
        let x = normal::<S>(&from, 3);
        assert_eq!(bytes(back.as_slice()), bytes(x.as_slice()), "TᴴT is not the identity");
        assert_eq!(since(sent(&team), forward), forward, "the adjoint sends the same messages the other way");
        let reversed: Vec<_> = transfer.adjoint_moves().iter().map(|m| (m.block, m.to, m.from, m.bytes)).collect();
        assert_eq!(reversed, transfer.moves().iter().map(|m| (m.block, m.from, m.to, m.bytes)).collect::<Vec<_>>());

        let [a] = team.dots([(&y, &expected)]).unwrap();
        let [b] = team.dots([(&x, &back)]).unwrap();
        assert!((a - b).abs() <= tolerance::<S>() * a.abs());
    }
    each_scalar!(check, comm);
}

/// `x` lives on rank 1 and is given to a transfer from 0 to 2.
fn t30_wrong_residency(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    if team.size() < 3 {
        return;
    }
    let on = |rank: usize| space_of(&team, &[(6, vec![rank])]);
    let transfer = Transfer::<f64>::new(&team, &on(0), &on(2)).unwrap();
    let says = "forward: x of a transfer is a vector of another space: expected block 0 on rank 0, got it on rank 1";
    let mut y = nan(&on(2));
    let error = transfer.forward(&team, &normal(&on(1), 1), &mut y).unwrap_err();
    assert!(error.to_string().starts_with(says), "{error}");
    let error = transfer.adjoint(&team, &normal(&on(2), 1), &mut nan(&on(1))).unwrap_err();
    assert!(error.to_string().starts_with("adjoint: x of a transfer is a vector of another space"), "{error}");

    // one rank alone is wrong: it still takes part, and all ranks hear of it
    let seen_from = if team.rank() == 2 { on(1) } else { on(0) };
    let error = transfer.forward(&team, &normal(&seen_from, 1), &mut y).unwrap_err();
    assert_eq!((error.rank(), error.ranks()), (2, 1));
    // as it does with a fault from before
    if team.rank() == 0 {
        team.note(Fault::new("no such file"));
    }
    let error = transfer.forward(&team, &normal(&on(0), 1), &mut y).unwrap_err();
    assert_eq!((error.fault().text.as_str(), error.rank()), ("no such file", 0));
    let half = team.split(Some(team.rank() % 2)).unwrap();
    let error = half.agree(Ok(())).and_then(|()| transfer.forward(&half, &normal(&on(0), 1), &mut y)).unwrap_err();
    assert!(error.to_string().contains("is called as rank"), "{error}");

    // and the team is usable afterwards
    transfer.forward(&team, &normal(&on(0), 4), &mut y).unwrap();
    assert_eq!(y.as_slice(), normal::<f64>(&on(2), 4).as_slice());
}

/// Blocks that several ranks hold, before or after.
fn a_transfer_of_copies_is_its_definition(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let team = Team::new(comm.clone());
        let (rank, size) = (team.rank(), team.size());
        for case in 0..8 {
            // some ranks for each of five blocks, never none
            let some = |block: usize, side: usize| -> Vec<usize> {
                let bits = Stream::new(11, 2 * case + side as u64);
                let chosen = |rank: &usize| bits.uniform((4 * block + rank) as u64) < 0.5;
                let ranks: Vec<usize> = (0..size).filter(chosen).collect();
                if ranks.is_empty() { vec![(block + side) % size] } else { ranks }
            };
            let sizes = [2, 5, 1, 4, 3];
            let side = |side: usize| -> Vec<_> { (0..5).map(|block| (sizes[block], some(block, side))).collect() };
            let (from, to) = (space_of(&team, &side(0)), space_of(&team, &side(1)));
            let transfer = Transfer::<S>::new(&team, &from, &to).unwrap();

            let x = normal::<S>(&from, case);
            let mut y = nan::<S>(&to);
            let before = sent(&team);
            transfer.forward(&team, &x, &mut y).unwrap();
            assert_eq!(bytes(y.as_slice()), bytes(normal::<S>(&to, case).as_slice()));
            let planned = |moves: &[stackphys::comm::Move]| Traffic {
                calls: moves.len() as u64,
                bytes: moves.iter().map(|message| message.bytes).sum(),
            };
            let forward = sent(&team);
            assert_eq!(since(forward, before), planned(transfer.moves()));

            // each copy has numbers of its own: what it adds to the block
            let own = |block: usize, rank: usize| random::<S>(sizes[block], 1000 + 10 * block as u64 + rank as u64);
            let mut y = nan::<S>(&to);
            let mut back = nan::<S>(&from);
            let mut inner = [0.0];
            for (block, _) in sizes.iter().enumerate() {
                if let Some(copy) = y.block_slice_mut(block) {
                    copy.copy_from_slice(&own(block, rank));
                    // T x has the numbers of x in every copy
                    let mut tx = vec![S::default(); copy.len()];
                    let start = sizes[..block].iter().sum::<usize>();
                    Stream::new(2026, case).fill_normal(start as u64, &mut tx);
                    inner[0] += dot(&tx, copy);
                }
            }
            transfer.adjoint(&team, &y, &mut back).unwrap();
            assert_eq!(since(sent(&team), forward), planned(transfer.adjoint_moves()));
            for (block, copies) in side(1).iter().enumerate().map(|(block, (_, ranks))| (block, ranks)) {
                let Some(sum) = back.block_slice(block) else { continue };
                let mut expected = own(block, copies[0]);
                for copy in &copies[1..] {
                    expected.iter_mut().zip(own(block, *copy)).for_each(|(sum, term)| *sum += term);
                }
                assert_eq!(bytes(sum), bytes(&expected), "added in another order than that of ranks");
            }
            let [inner] = team.sum(inner).unwrap();
            let [adjoint] = team.dots([(&x, &back)]).unwrap();
            assert!((inner - adjoint).abs() <= 10.0 * tolerance::<S>() * inner.abs().max(1.0), "{inner} {adjoint}");
        }
    }
    each_scalar!(check, comm);
}

fn a_transfer_that_cannot_be_planned_is_told(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    let size = team.size();
    let refused = |from: &[(usize, Vec<usize>)], to: &[(usize, Vec<usize>)]| -> Error {
        team.agree(Transfer::<f64>::new(&team, &space_of(&team, from), &space_of(&team, to)).map(drop)).unwrap_err()
    };
    let zero = || vec![0];
    assert_eq!(refused(&[(3, zero())], &[(3, zero()), (3, zero())]).fault().text, "transfer: from 1 blocks to 2");
    let shapes = refused(&[(3, zero()), (4, zero())], &[(3, zero()), (5, zero())]);
    assert!(shapes.to_string().contains("transfer: block 1: expected shape (x=4), got (x=5)"), "{shapes}");
    let on = |rank: usize, seen_from: usize| {
        Space::new(vec![Block { shape: line(3), placement: Placement::On(rank) }], seen_from)
    };
    let (here, nowhere) = (on(0, team.rank()), on(size + 7, team.rank()));
    for (from, to) in [(&here, &nowhere), (&nowhere, &here)] {
        let missing = team.agree(Transfer::<f64>::new(&team, from, to).map(drop)).unwrap_err();
        let says = format!("transfer: expected block 0 on some of {size} ranks, got it on rank {}", size + 7);
        assert_eq!(missing.fault().text, says);
    }
    if size > 1 {
        let other = on(0, 1 - team.rank().min(1));
        let error = team.agree(Transfer::<f64>::new(&team, &other, &other).map(drop)).unwrap_err();
        assert!(error.to_string().contains("is not the one that rank 0 sees"), "{error}");
    }
}

/// More than goes at once, and numbers that show an exchange of pieces.
fn long_messages_arrive_whole(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    let last = team.size() - 1;
    let len = (1 << 20) + 3;
    let space = |rank: usize| space_of(&team, &[(len, vec![rank]), (len / 2, vec![rank])]);
    let transfer = Transfer::<Complex<f32>>::new(&team, &space(0), &space(last)).unwrap();
    let mut x = Vector::zeros(transfer.domain());
    let number = |place: usize| Complex::new(place as f32, -(place as f32));
    x.as_mut_slice().iter_mut().enumerate().for_each(|(place, x)| *x = number(place));
    let mut y = nan(transfer.range());
    transfer.forward(&team, &x, &mut y).unwrap();
    assert!(y.as_slice().iter().enumerate().all(|(place, y)| *y == number(place)));
    assert!(team.rank() != last || y.as_slice().len() == len + len / 2);
}

/// Arrays in one to three dims, how they are cut, and the margins of their parts.
fn cases() -> Vec<(Partition, Vec<Margin>)> {
    let one = Shape::new([("x", 11)]);
    let two = Shape::new([("y", 7), ("x", 9)]);
    let three = Shape::new([("z", 4), ("y", 5), ("x", 6)]);
    let even = |whole: &Shape, parts: &[(&str, usize)]| Partition::even(whole, parts).unwrap();
    let side = |dim: &str, before, after, beyond| Margin { dim: dim.into(), before, after, beyond };
    let all = |beyond| {
        vec![
            (even(&one, &[("x", 4)]), vec![side("x", 2, 1, beyond)]),
            (even(&one, &[("x", 1)]), vec![side("x", 3, 10, beyond)]),
            (even(&one, &[("x", 11)]), vec![side("x", 4, 3, beyond)]), // across several neighbours
            (even(&two, &[("y", 2), ("x", 2)]), vec![side("y", 1, 1, beyond), side("x", 2, 2, beyond)]),
            (even(&two, &[("x", 4)]), vec![side("y", 1, 0, beyond), side("x", 0, 2, beyond)]),
            (even(&two, &[("y", 3), ("x", 2)]), vec![side("x", 1, 1, beyond)]),
            (
                Partition::at(&two, &[("y", &[0, 1, 7]), ("x", &[0, 1, 2, 9])]).unwrap(),
                vec![side("y", 3, 3, beyond), side("x", 3, 1, beyond)],
            ),
            (even(&three, &[("z", 2), ("x", 3)]), ["z", "y", "x"].map(|dim| side(dim, 1, 2, beyond)).to_vec()),
        ]
    };
    let mut cases = [Beyond::Zero, Beyond::Circular, Beyond::Reflect].map(all).concat();
    // each dim as it likes, and none at all
    let mixed = [side("z", 1, 1, Beyond::Reflect), side("y", 6, 0, Beyond::Circular), side("x", 2, 7, Beyond::Zero)];
    cases.push((even(&three, &[("y", 2), ("z", 2)]), mixed.to_vec()));
    cases.push((even(&two, &[("y", 2), ("x", 3)]), vec![]));
    cases
}

/// What a sample of an array that goes on beyond its edges is a copy of, by the definitions of the three ways.
fn copied(place: i64, size: usize, beyond: Beyond) -> Option<usize> {
    let size = size as i64;
    let sample = match beyond {
        Beyond::Zero => Some(place).filter(|place| (0..size).contains(place)),
        Beyond::Circular => Some((place + 100 * size) % size),
        // … 2 1 | 0 1 2 … n−1 | n−2 n−3 …
        Beyond::Reflect => Some(place.abs()).map(|place| if place < size { place } else { 2 * (size - 1) - place }),
    };
    sample.map(|sample| sample as usize)
}

/// The numbers of a part with its margins, one by one, out of the whole array.
fn part_of<S: Scalar>(partition: &Partition, margins: &[Margin], part: usize, whole: &[S]) -> Vec<S> {
    let shape = partition.whole();
    let mut numbers = vec![whole.to_vec()];
    // along one dim after the other: `numbers` are arrays of the dims that are left
    for (dim, range) in shape.dims().iter().zip(partition.ranges(part)) {
        let margin = margins.iter().find(|margin| margin.dim == dim.name);
        let (before, after, beyond) = margin.map_or((0, 0, Beyond::Zero), |m| (m.before, m.after, m.beyond));
        let places = range.start as i64 - before as i64..(range.end + after) as i64;
        let cut = |array: Vec<S>| -> Vec<Vec<S>> {
            let len = array.len() / dim.size;
            let row = |place| match copied(place, dim.size, beyond) {
                Some(sample) => array[sample * len..][..len].to_vec(),
                None => vec![S::default(); len],
            };
            places.clone().map(row).collect()
        };
        numbers = numbers.into_iter().flat_map(cut).collect();
    }
    numbers.concat()
}

/// The parts of an array that all ranks know.
fn parts_of<S: Scalar>(partition: &Partition, space: &Arc<Space>, whole: &[S]) -> Vector<S> {
    let mut vector = Vector::zeros(space);
    for part in 0..partition.count() {
        if let Some(block) = vector.block_slice_mut(part) {
            block.iter_mut().zip(partition.tile(part).offsets()).for_each(|(x, at)| *x = whole[at]);
        }
    }
    vector
}

fn a_halo_is_its_definition(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let team = Team::new(comm.clone());
        for (partition, margins) in cases() {
            let halo = Halo::<S>::new(&team, &partition, &margins).unwrap();
            let whole = random::<S>(partition.whole().len(), 5);
            let mut x = parts_of(&partition, halo.domain(), &whole);
            for _ in 0..2 {
                let mut y = nan::<S>(halo.range());
                halo.forward(&team, &x, &mut y).unwrap();
                x.fill(S::from_f64(7.0)); // right after the call
                for part in 0..partition.count() {
                    let Some(block) = y.block_slice(part) else { continue };
                    assert_eq!(bytes(block), bytes(&part_of(&partition, &margins, part, &whole)), "{margins:?}");
                    let inner: Vec<S> = halo.inner(part).offsets().map(|at| block[at]).collect();
                    let own: Vec<S> = partition.tile(part).offsets().map(|at| whole[at]).collect();
                    assert_eq!(bytes(&inner), bytes(&own));
                }
                x = parts_of(&partition, halo.domain(), &whole);
            }
        }
    }
    each_scalar!(check, comm);
}

fn the_adjoint_of_a_halo_adds_the_margins_back(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let team = Team::new(comm.clone());
        let alone = Team::new(Rc::new(Solo));
        for (partition, margins) in cases() {
            let halo = Halo::<S>::new(&team, &partition, &margins).unwrap();
            let (x, y) = (normal::<S>(halo.domain(), 1), normal::<S>(halo.range(), 2));
            let (mut hx, mut hhy) = (nan::<S>(halo.range()), nan::<S>(halo.domain()));
            halo.forward(&team, &x, &mut hx).unwrap();
            halo.adjoint(&team, &y, &mut hhy).unwrap();
            let [forward, hx_squared, y_squared] = team.dots([(&hx, &y), (&hx, &hx), (&y, &y)]).unwrap();
            let [adjoint] = team.dots([(&x, &hhy)]).unwrap();
            let scale = (hx_squared * y_squared).sqrt();
            assert!((forward - adjoint).abs() <= tolerance::<S>() * scale, "{margins:?}: {forward} {adjoint}");

            // the same bits as on one process
            let whole = Halo::<S>::new(&alone, &partition, &margins).unwrap();
            let mut expected = nan::<S>(whole.domain());
            whole.adjoint(&alone, &normal(whole.range(), 2), &mut expected).unwrap();
            for part in 0..partition.count() {
                let Some(block) = hhy.block_slice(part) else { continue };
                assert_eq!(bytes(block), bytes(expected.block_slice(part).unwrap()), "{margins:?}");
            }
        }
    }
    each_scalar!(check, comm);
}

/// Corners included, whatever the number of pieces; counted as planned.
fn a_halo_sends_one_message_to_each_neighbour(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    for (partition, margins) in cases() {
        let halo = Halo::<f64>::new(&team, &partition, &margins).unwrap();
        let (x, mut y) = (normal(halo.domain(), 1), nan(halo.range()));
        let mut back = nan(halo.domain());
        let of_one = |action: &mut dyn FnMut()| {
            let before = team.meter().all();
            action();
            let [messages, exchanges] = [Kind::Message, Kind::Exchange].map(|kind| {
                let (now, before) = (team.meter().of(kind), before[kind as usize]);
                since(now, before)
            });
            assert_eq!(exchanges.calls, 0);
            messages
        };
        assert_eq!(of_one(&mut || halo.forward_unsettled(&team, &x, &mut y)), halo.sends());
        assert_eq!(of_one(&mut || halo.adjoint_unsettled(&team, &y, &mut back)), halo.receives());
        assert!(halo.sends().calls < team.size() as u64);
        let [sends, receives] = team.sum([halo.sends().bytes as f64, halo.receives().bytes as f64]).unwrap();
        assert_eq!(sends, receives);
    }
    if team.size() == 4 {
        let volume = Shape::new([("y", 8), ("x", 10)]);
        let partition = Partition::even(&volume, &[("y", 2), ("x", 2)]).unwrap();
        let margins = ["y", "x"].map(|dim| Margin::both(dim, 2, Beyond::Zero));
        let halo = Halo::<f64>::new(&team, &partition, &margins).unwrap();
        // two rows of 5, two columns of 4, a corner of 2 × 2
        let expected = Traffic { calls: 3, bytes: 8 * (2 * 5 + 2 * 4 + 4) };
        assert_eq!((halo.sends(), halo.receives()), (expected, expected));
    }
}

fn faults_around_a_halo(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    let image = Shape::new([("y", 6), ("x", 8)]);
    let partition = Partition::even(&image, &[("y", 2), ("x", 2)]).unwrap();
    let refused = |margins: &[Margin]| -> String {
        team.agree(Halo::<f64>::new(&team, &partition, margins).map(drop)).unwrap_err().to_string()
    };
    let both = |dim: &str, width| Margin::both(dim, width, Beyond::Reflect);
    assert!(refused(&[both("z", 1)]).contains("there is no dim `z` in (y=6, x=8)"));
    assert!(refused(&[both("x", 1), both("y", 1), both("x", 2)]).contains("dim `x` has two margins"));
    assert!(refused(&[both("y", 6)]).contains("dim `y` of 6 samples: expected margins below 6, got 6"));
    let too_many = team.agree(Partition::even(&image, &[("y", 7)])).unwrap_err().to_string();
    assert!(too_many.starts_with("dim `y` of (y=6, x=8): expected 1 to 6 parts, got 7"), "{too_many}");

    let halo = Halo::<f64>::new(&team, &partition, &[both("y", 1), both("x", 2)]).unwrap();
    let (x, mut y) = (normal::<f64>(halo.domain(), 1), nan(halo.range()));
    let last = team.size() - 1;
    for wrong in [false, true] {
        // a rank with a fault takes part in the messages, its own or one from before
        let (mine, others) = (normal(halo.range(), 1), normal(halo.domain(), 1));
        let x = if wrong && team.rank() == last { &mine } else { &others };
        if !wrong && team.rank() == last {
            team.note(Fault::new("a deliberate fault"));
        }
        halo.forward_unsettled(&team, x, &mut y);
        let error = team.settle().unwrap_err();
        let says = if wrong { "x of a halo is a vector of another space" } else { "a deliberate fault" };
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!((error.rank(), error.ranks()), (last, 1));
        let error = halo.adjoint(&team, &y, &mut nan(halo.range())).unwrap_err();
        assert!(error.to_string().contains("adjoint: x of a halo is a vector of another space"), "{error}");
    }
    halo.forward(&team, &x, &mut y).unwrap();
    let mut again = nan(halo.range());
    halo.forward(&team, &x, &mut again).unwrap();
    assert_eq!(y.as_slice(), again.as_slice());
}

const DELAY: Duration = Duration::from_millis(300);

/// Several exchanges in a row along a line of parts. The ranks that are delayed, and before which exchange.
fn seconds_with_delays(team: &Team, delays: &[(usize, usize)]) -> f64 {
    let partition = Partition::even(&line(40), &[("x", team.size())]).unwrap();
    let halo = Halo::<f64>::new(team, &partition, &[Margin::both("x", 2, Beyond::Zero)]).unwrap();
    let (x, mut y) = (normal(halo.domain(), 1), nan(halo.range()));
    team.barrier();
    let begin = Instant::now();
    for exchange in 0..4 {
        if delays.contains(&(team.rank(), exchange)) {
            std::thread::sleep(DELAY);
        }
        halo.forward_unsettled(team, &x, &mut y);
    }
    team.max([begin.elapsed().as_secs_f64()])[0]
}

/// All messages are under way at the same time, and nobody waits for ranks that are not neighbours.
fn a_delayed_rank_delays_its_neighbours_only(comm: &Rc<dyn Comm>) {
    let team = Team::new(comm.clone());
    if team.size() < 4 {
        return;
    }
    let delay = DELAY.as_secs_f64();
    for delays in [
        &[(1, 1)][..],                     // one rank delays the whole once
        &[(0, 0), (1, 0), (2, 0), (3, 0)], // each rank does, all at the same time
        &[(3, 0), (0, 1)],                 // news of rank 3 reaches rank 0 with the third exchange only
    ] {
        // a busy machine may add to it now and then, but not always
        let took = (0..10).map(|_| seconds_with_delays(&team, delays)).find(|took| *took < 1.7 * delay);
        assert!(took.is_some_and(|took| took >= delay), "{delays:?}: {took:?} s");
    }
}

/// Blurs of parts with margins, as far as they do not depend on what lies beyond: part j reads block j.
struct InParts {
    halo: Vec<(Shape, Vec<usize>, Shape)>,
    sigma: [f64; 2],
    radius: usize,
}

impl InParts {
    fn new<S: Scalar>(halo: &Halo<S>, sigma: [f64; 2], radius: usize) -> Self {
        let part = |(part, block): (usize, &Block)| {
            (block.shape.clone(), halo.inner(part).offsets().collect(), halo.partition().shape(part))
        };
        InParts { halo: halo.range().blocks().iter().enumerate().map(part).collect(), sigma, radius }
    }
}

fn gaussian<S: Scalar>(shape: &Shape, sigma: [f64; 2], radius: usize) -> Blur<S> {
    Blur::gaussian(shape, &sigma, Some(radius), Padding::Circular).unwrap()
}

impl<S: Scalar> Factory<S> for InParts {
    fn count(&self) -> usize {
        self.halo.len()
    }
    fn blocks(&self) -> Vec<Shape> {
        self.halo.iter().map(|(wide, ..)| wide.clone()).collect()
    }
    fn describe(&self, index: usize) -> Result<Description, Fault> {
        let (wide, _, part) = &self.halo[index];
        Ok(Description { reads: vec![index], ..Description::new(format!("part {index}"), wide.clone(), part.clone()) })
    }
    fn build(&self, index: usize) -> Result<Boxed<S>, Fault> {
        let (wide, inner, part) = self.halo[index].clone();
        let blur = Arc::new(gaussian::<S>(&wide, self.sigma, self.radius));
        let (same, len, places) = (blur.clone(), wide.len(), inner.clone());
        Ok(Box::new(Closure::new(
            wide,
            part,
            move |x: &[S], y: &mut [S]| {
                let mut blurred = vec![S::default(); len];
                blur.forward(x, &mut blurred, &mut Work::default())?;
                y.iter_mut().zip(&inner).for_each(|(y, at)| *y = blurred[*at]);
                Ok(())
            },
            move |y: &[S], x: &mut [S]| {
                let mut embedded = vec![S::default(); len];
                places.iter().zip(y).for_each(|(at, y)| embedded[*at] = *y);
                same.adjoint(&embedded, x, &mut Work::default())
            },
        )))
    }
}

const RADIUS: usize = 3;
const SIGMA: [f64; 2] = [0.9, 1.4];

/// An image cut into 2 × 2 unequal parts with the margins that a blur needs.
fn image_in_parts<S: Scalar>(team: &Team, beyond: Beyond) -> Halo<S> {
    let image = Shape::new([("y", 13), ("x", 18)]);
    let partition = Partition::at(&image, &[("y", &[0, 8, 13]), ("x", &[0, 5, 18])]).unwrap();
    Halo::new(team, &partition, &["y", "x"].map(|dim| Margin::both(dim, RADIUS, beyond))).unwrap()
}

/// The blur of the uncut image, and its adjoint, by one that goes on far enough beyond the edges.
fn uncut<S: Scalar>(image: &Shape, beyond: Beyond, sigma: [f64; 2], x: &[S], y: &[S]) -> [Vec<S>; 2] {
    if beyond == Beyond::Circular {
        let blur = gaussian::<S>(image, sigma, RADIUS);
        let (mut ax, mut ahy) = (vec![S::default(); x.len()], vec![S::default(); x.len()]);
        blur.forward(x, &mut ax, &mut Work::default()).unwrap();
        blur.adjoint(y, &mut ahy, &mut Work::default()).unwrap();
        return [ax, ahy];
    }
    let sizes = image.sizes();
    let wide = Shape::new([("y", sizes[0] + 2 * RADIUS), ("x", sizes[1] + 2 * RADIUS)]);
    let columns = wide.sizes()[1];
    // of each pixel of the wide image, the one that it is a copy of
    let sources: Vec<Option<usize>> = (0..wide.len())
        .map(|at| {
            let place = |k: usize, axis: usize| copied(k as i64 - RADIUS as i64, sizes[axis], beyond);
            Some(place(at / columns, 0)? * sizes[1] + place(at % columns, 1)?)
        })
        .collect();
    let inner = |at: usize| (at / sizes[1] + RADIUS) * columns + at % sizes[1] + RADIUS;
    let blur = gaussian::<S>(&wide, sigma, RADIUS);
    let padded: Vec<S> = sources.iter().map(|source| source.map_or(S::default(), |at| x[at])).collect();
    let mut blurred = vec![S::default(); wide.len()];
    blur.forward(&padded, &mut blurred, &mut Work::default()).unwrap();
    let mut embedded = vec![S::default(); wide.len()];
    y.iter().enumerate().for_each(|(at, y)| embedded[inner(at)] = *y);
    let mut spread = vec![S::default(); wide.len()];
    blur.adjoint(&embedded, &mut spread, &mut Work::default()).unwrap();
    let mut ahy = vec![S::default(); x.len()];
    sources.iter().zip(spread).for_each(|(source, value)| {
        if let Some(at) = source {
            ahy[*at] += value;
        }
    });
    [(0..x.len()).map(|at| blurred[inner(at)]).collect(), ahy]
}

/// How far this rank's parts are from those of an array that all ranks know.
fn off<S: Scalar>(halo: &Halo<S>, got: &Vector<S>, whole: &[S]) -> f64 {
    let expected = parts_of(halo.partition(), halo.domain(), whole);
    if expected.as_slice().is_empty() {
        0.0
    } else {
        distance(got.as_slice(), &Array1::from(expected.as_slice().to_vec()))
    }
}

fn a_blur_in_parts_is_the_blur_of_the_whole(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for (beyond, summation) in [
            (Beyond::Circular, Summation::Fast),
            (Beyond::Zero, Summation::Fast),
            (Beyond::Reflect, Summation::Ordered),
        ] {
            let options = PlanOptions { summation, ..PlanOptions::default() };
            let halo = image_in_parts::<S>(&Team::new(comm.clone()), beyond);
            let stack =
                Stack::<S>::build(Team::new(comm.clone()), &InParts::new(&halo, SIGMA, RADIUS), options).unwrap();
            let team = stack.team();
            // what the stack reads is what the halo makes, and what it makes is what the halo reads
            assert!(stack.domain().same(halo.range()) && stack.range().same(halo.domain()));

            let image = halo.partition().whole();
            let (x, y) = (random::<S>(image.len(), 8), random::<S>(image.len(), 9));
            let [ax, ahy] = uncut(image, beyond, SIGMA, &x, &y);
            let x = parts_of(halo.partition(), halo.domain(), &x);
            let y = parts_of(halo.partition(), halo.domain(), &y);
            let (mut wide, mut got) = (nan::<S>(halo.range()), nan::<S>(halo.domain()));
            halo.forward_unsettled(team, &x, &mut wide);
            stack.forward(&wide, &mut got).unwrap();
            assert!(off(&halo, &got, &ax) < tolerance::<S>(), "{beyond:?}");
            stack.adjoint(&y, &mut wide).unwrap();
            halo.adjoint(team, &wide, &mut got).unwrap();
            assert!(off(&halo, &got, &ahy) < tolerance::<S>(), "{beyond:?}, adjoint");
        }
    }
    each_scalar!(check, comm);
}

/// Ranks arranged as (operators) × (parts): each group blurs all parts its own way, and those that hold the same part add up.
fn groups_of_operators_times_parts(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let team = Team::new(comm.clone());
        let groups = if team.size().is_multiple_of(2) { 2 } else { 1 };
        let columns = team.size() / groups;
        let (group, column) = (team.rank() / columns, team.rank() % columns);
        let sigma = [SIGMA, [1.8, 0.6]];
        let within = team.split(Some(group)).unwrap();
        let across = team.split(Some(column)).unwrap();
        let halo = image_in_parts::<S>(&within, Beyond::Reflect);
        let blurs = InParts::new(&halo, sigma[group], RADIUS);
        let stack = Stack::<S>::build(within.split(Some(0)).unwrap(), &blurs, PlanOptions::default()).unwrap();

        let image = halo.partition().whole();
        let x = random::<S>(image.len(), 8);
        let numbers = parts_of(halo.partition(), halo.domain(), &x);
        let (mut wide, mut got) = (nan::<S>(halo.range()), nan::<S>(halo.domain()));
        halo.forward(&within, &numbers, &mut wide).unwrap();
        stack.forward(&wide, &mut got).unwrap();
        let all: Vec<[Vec<S>; 2]> =
            sigma[..groups].iter().map(|sigma| uncut(image, Beyond::Reflect, *sigma, &x, &x)).collect();
        assert!(off(&halo, &got, &all[group][0]) < tolerance::<S>());

        // Σ over groups of their adjoints: a sum among the ranks that hold the same parts, which all groups deal alike
        stack.adjoint(&numbers, &mut wide).unwrap();
        halo.adjoint(&within, &wide, &mut got).unwrap();
        let shared = Space::replicated(line(got.as_slice().len()));
        let mut sum = Vector::zeros(&shared);
        sum.as_mut_slice().copy_from_slice(got.as_slice());
        across.sum_vector(&mut sum).unwrap();
        got.as_mut_slice().copy_from_slice(sum.as_slice());
        let mut expected = all[0][1].clone();
        for other in &all[1..] {
            expected.iter_mut().zip(&other[1]).for_each(|(sum, term)| *sum += *term);
        }
        assert!(off(&halo, &got, &expected) < tolerance::<S>());
        assert_eq!(across.size(), groups);
    }
    each_scalar!(check, comm);
}
