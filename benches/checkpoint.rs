//! A checkpoint of one gigabyte by two ranks, against `dd` on the same disk: from the copy of the state to the sync of the
//! file. Starts itself under `mpirun`.
//!
//! Prints the median and the least of several runs, in seconds, as one JSON object a line. `held up` is how long the iteration
//! waits for the copy. Writes to the folder of temporary files (TMPDIR), which needs room for three gigabytes.

#[cfg(feature = "mpi")]
mod common;

#[cfg(not(feature = "mpi"))]
fn main() {
    println!("this bench needs the feature `mpi`");
}

#[cfg(feature = "mpi")]
fn main() {
    if stackphys::comm::mpi::launched() { bench::main() } else { common::launch() }
}

#[cfg(feature = "mpi")]
mod bench {
    use std::process::{Command, Stdio};
    use std::rc::Rc;

    use stackphys::Shape;
    use stackphys::checkpoint::{Checkpoints, When};
    use stackphys::comm::mpi::Session;
    use stackphys::comm::{Comm, Team};
    use stackphys::solver::{Keeper, Memory, Progress};
    use stackphys::space::{Block, Placement, Space, Vector};

    use crate::common::{Case, race};

    /// Of each of two blocks; together 10⁹ bytes.
    const ELEMENTS: usize = 62_500_000;

    pub fn main() {
        let session = Session::start().expect("MPI was not started before");
        let comm: Rc<dyn Comm> = session.world();
        let team = Team::new(comm.clone());
        let folder =
            team.from_rank_0(|| Ok(std::env::temp_dir().join(format!("stackphys-bench-{}", std::process::id()))));
        let folder = folder.expect("a path");
        std::fs::create_dir_all(&folder).expect("a folder");

        let rows =
            |rank| Block { shape: Shape::new([("row", ELEMENTS)]), placement: Placement::On(rank % team.size()) };
        let mut vector = Vector::<f64>::zeros(&Space::new(vec![rows(0), rows(1)], comm.rank()));
        vector.as_mut_slice().iter_mut().enumerate().for_each(|(k, value)| *value = (k as f64).sqrt());
        let when = When { every_iterations: Some(1), every_minutes: None, ..When::default() };
        let keeper =
            || Checkpoints::new(&team, folder.join("ours"), when.clone(), serde_json::json!("a bench"), Vec::new());

        let (mut written, mut held) = (keeper(), keeper());
        let mut iteration = 0;
        let mut keep = |checkpoints: &mut Checkpoints| {
            iteration += 1;
            let now = [Progress { iteration, ..Progress::default() }];
            let remember = &mut |memory: &mut dyn Memory| memory.vector("vector", &mut vector);
            checkpoints.keep(remember, &now).expect("a checkpoint");
        };
        let keep = std::cell::RefCell::new(&mut keep);
        let dd = || {
            if comm.rank() == 0 {
                let to = format!("of={}", folder.join("dd").display());
                let mut dd = Command::new("dd");
                dd.args(["if=/dev/zero", &to, "bs=1M", "count=954", "conv=fsync"]).stderr(Stdio::null());
                assert!(dd.status().expect("dd can be started").success());
            }
            comm.barrier();
        };
        let ours = || {
            (keep.borrow_mut())(&mut written);
            written.finish().expect("a whole checkpoint");
            comm.barrier();
        };
        let about = "\"scalar\": \"f64\", \"operators\": 2";
        race(&comm, "checkpoint", about, 1, 3, vec![Case::new("1 GB", "stackphys", ours), Case::new("1 GB", "dd", dd)]);
        let begin = std::time::Instant::now();
        (keep.borrow_mut())(&mut held);
        let seconds = begin.elapsed().as_secs_f64();
        held.finish().expect("a whole checkpoint");
        if comm.rank() == 0 {
            println!(
                "{{\"who\": \"stackphys\", \"case\": \"checkpoint\", \"what\": \"1 GB, held up\", \"how\": \"copy\", \"ranks\": {}, \
                 {about}, \"median\": {seconds:.6}, \"least\": {seconds:.6}}}",
                comm.size()
            );
            std::fs::remove_dir_all(&folder).expect("the folder is ours");
        }
    }
}
