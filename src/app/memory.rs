//! Whether a job fits into the memory of its hosts, asked before anything is built.
//!
//! How much there is, is said in several places, and the smallest counts: what the system has left, what the groups of
//! processes (cgroups, version 1 or 2) that a batch system or a container put us into may still take, and what SLURM gave the
//! job on each node.

use std::fs;
use std::path::{Path, PathBuf};

use super::forecast::Forecast;
use crate::comm::Team;
use crate::error::{Error, Fault, Phase};
use crate::stack::human_bytes;

/// Memory that this process and its siblings may use on this host, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Available {
    bytes: u64,
    says: String,
}

/// An error, the same on all ranks, where the ranks of a host need more than it has. Collective: yes.
pub fn check(team: &Team, forecast: &Forecast, names: &[String]) -> Result<(), Error> {
    let here = available(Path::new("/"), |name| std::env::var(name).ok());
    let bytes = here.as_ref().map_or(f64::INFINITY, |here| here.bytes as f64);
    let found = team.gather_numbers(&[bytes]); // exact: below 2⁵³
    for host in 0..forecast.hosts.count() {
        let ranks: Vec<usize> = forecast.hosts.ranks_of(host).collect();
        let needs = forecast.host_bytes(host);
        let least = ranks.iter().copied().min_by(|a, b| found[*a][0].total_cmp(&found[*b][0])).unwrap_or(0);
        if needs as f64 <= found[least][0] {
            continue;
        }
        // the rank that sees the least says who limits it
        let says = team.from_rank(least, || Ok(here.as_ref().map_or(String::new(), |here| here.says.clone())))?;
        let (count, has) = (ranks.len(), human_bytes(found[least][0] as u64));
        let by = if count == 1 { "1 rank".to_owned() } else { format!("{count} ranks") };
        let text = format!(
            "the job needs {} by {by} on host {}, which has {has} ({says})",
            human_bytes(needs),
            names[ranks[0]]
        );
        return team.agree(Err(Fault::new(text).in_phase(Phase::Plan).hint(
            "use more nodes or fewer ranks on each, cut x by [blocks], or set model.scalar to single precision; \
             `plan` shows what takes it; --ignore-memory tries all the same",
        )));
    }
    Ok(())
}

/// What a process may still use, from the files of a system under `root` and its environment. `None` where nothing is said.
fn available(root: &Path, env: impl Fn(&str) -> Option<String>) -> Option<Available> {
    let all = [of_system(root), of_groups(root), of_slurm(env)];
    all.into_iter().flatten().min_by_key(|one| one.bytes)
}

/// `MemAvailable`: free, or freed when asked for.
fn of_system(root: &Path) -> Option<Available> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(Available { bytes: kilobytes * 1024, says: "MemAvailable of the system".into() })
}

/// What is left of the limits of the groups that this process is in, and of those around them.
fn of_groups(root: &Path) -> Option<Available> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let of_group = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        match controllers {
            "" => least_left(&root.join("sys/fs/cgroup"), path, "memory.max", "memory.current", "inactive_file"),
            v1 if v1.split(',').any(|name| name == "memory") => {
                let files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
                least_left(&root.join("sys/fs/cgroup/memory"), path, files.0, files.1, files.2)
            }
            _ => None,
        }
    };
    groups.lines().filter_map(of_group).min_by_key(|one| one.bytes)
}

/// The least that a group or one of those around it leaves: its limit less what is in use, but for files that are only cached.
fn least_left(mount: &Path, path: &str, limit: &str, usage: &str, cached: &str) -> Option<Available> {
    let number = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok(); // not `max`
    let left = |folder: &Path| {
        let limit = number(folder.join(limit))?;
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let in_cache = stat.lines().find_map(|line| line.strip_prefix(cached)?.trim().parse::<u64>().ok());
        let used = number(folder.join(usage)).unwrap_or(0).saturating_sub(in_cache.unwrap_or(0));
        Some(Available { bytes: limit.saturating_sub(used), says: format!("the limit of cgroup {}", folder.display()) })
    };
    // inside a container the mount may be the group itself
    let inner = mount.join(path);
    inner.ancestors().take_while(|folder| folder.starts_with(mount)).filter_map(left).min_by_key(|one| one.bytes)
}

/// What SLURM gave the job on each node, in megabytes; zero means all.
fn of_slurm(env: impl Fn(&str) -> Option<String>) -> Option<Available> {
    let number = |name: &str| env(name)?.parse::<u64>().ok().filter(|number| *number > 0);
    let (megabytes, says) = match (number("SLURM_MEM_PER_NODE"), number("SLURM_MEM_PER_CPU")) {
        (Some(node), _) => (node, "SLURM_MEM_PER_NODE"),
        (None, Some(cpu)) => (cpu * number("SLURM_CPUS_ON_NODE")?, "SLURM_MEM_PER_CPU × SLURM_CPUS_ON_NODE"),
        (None, None) => return None,
    };
    Some(Available { bytes: megabytes << 20, says: says.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system of some files; what it says of its memory.
    fn found(files: &[(&str, &str)], env: &[(&str, &str)]) -> Option<(u64, String)> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
        available(root.path(), env).map(|found| (found.bytes, found.says))
    }

    const SYSTEM: (&str, &str) = ("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n");

    #[test]
    fn the_smallest_limit_counts() {
        assert_eq!(found(&[], &[]), None);
        assert_eq!(found(&[SYSTEM], &[]).unwrap().0, 4000 * 1024);
        let v2 = [
            SYSTEM,
            ("proc/self/cgroup", "0::/job/step\n"),
            ("sys/fs/cgroup/job/memory.max", "1000000\n"),
            ("sys/fs/cgroup/job/memory.current", "400000\n"),
            ("sys/fs/cgroup/job/memory.stat", "anon 1\ninactive_file 150000\n"),
            ("sys/fs/cgroup/job/step/memory.max", "max\n"),
        ];
        let (bytes, says) = found(&v2, &[]).unwrap(); // the limit is that of the group around
        assert_eq!(bytes, 1_000_000 - 400_000 + 150_000);
        assert!(says.contains("cgroup") && says.ends_with("/job"), "{says}");
        let v1 = [
            SYSTEM,
            ("proc/self/cgroup", "12:cpu,cpuacct:/a\n4:memory:/slurm/uid_0\n1:name=systemd:/\n"),
            ("sys/fs/cgroup/memory/slurm/uid_0/memory.limit_in_bytes", "2000000\n"),
            ("sys/fs/cgroup/memory/slurm/uid_0/memory.usage_in_bytes", "500000\n"),
        ];
        assert_eq!(found(&v1, &[]).unwrap().0, 1_500_000);
        assert_eq!(found(&[SYSTEM], &[("SLURM_MEM_PER_NODE", "1")]).unwrap(), (1 << 20, "SLURM_MEM_PER_NODE".into()));
        assert_eq!(found(&[SYSTEM], &[("SLURM_MEM_PER_NODE", "0")]).unwrap().0, 4000 * 1024); // all of the node
        let per_core = [("SLURM_MEM_PER_CPU", "1"), ("SLURM_CPUS_ON_NODE", "2")];
        assert_eq!(found(&[SYSTEM], &per_core).unwrap().0, 2 << 20);
    }
}
