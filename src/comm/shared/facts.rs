//! What a rank tells the others about the host that it runs on: which one it is, and the cores that it may use there.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Words for the cores that a rank may run on, a bit each.
const CORE_WORDS: usize = 32;
/// What a rank tells: a hash of its host's name, the cores it may count on, and which.
pub(in crate::comm) const FACTS: usize = 2 + CORE_WORDS;

/// The facts of this rank.
pub(in crate::comm) fn facts(host: &str) -> [u64; FACTS] {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    let mut facts = [0; FACTS];
    facts[0] = hasher.finish();
    facts[1] = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    // hexadecimal words of 32 cores, the last word first: `Cpus_allowed: ff,ffffffff`
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:")).unwrap_or_default();
    for (k, word) in allowed.trim().rsplit(',').enumerate().take(2 * CORE_WORDS) {
        facts[2 + k / 2] |= u64::from_str_radix(word, 16).unwrap_or(0) << (32 * (k % 2));
    }
    facts
}

/// The cores that some ranks of one host have together: those that any of them may run on, unless a quota allows less.
pub(in crate::comm) fn cores(ranks: &[&[u64]]) -> usize {
    let union = |word: usize| ranks.iter().fold(0, |union, facts| union | facts[2 + word]);
    let together: u32 = (0..CORE_WORDS).map(|word| union(word).count_ones()).sum();
    let most_alone = ranks.iter().map(|facts| facts[1] as usize).max().unwrap_or(1);
    let own = |facts: &[u64]| facts[2..].iter().map(|word| word.count_ones() as usize).sum::<usize>();
    let by_quota = ranks.iter().any(|facts| (facts[1] as usize) < own(facts));
    if together == 0 || by_quota { most_alone } else { together as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_those_of_all_ranks_together() {
        let rank = |available: u64, mask: u64| {
            let mut facts = [0; FACTS];
            (facts[1], facts[2]) = (available, mask);
            facts
        };
        let count = |ranks: &[[u64; FACTS]]| cores(&ranks.iter().map(|facts| &facts[..]).collect::<Vec<_>>());
        assert_eq!(count(&[rank(1, 1), rank(1, 2)]), 2); // each is bound to a core of its own
        assert_eq!(count(&[rank(1, 1), rank(1, 1)]), 1);
        assert_eq!(count(&[rank(8, 0xff), rank(8, 0xff)]), 8);
        assert_eq!(count(&[rank(3, 0xff), rank(3, 0xff)]), 3); // a quota
        assert_eq!(count(&[rank(4, 0), rank(4, 0)]), 4); // a system that does not tell
        let here = facts("here");
        let allowed: u32 = here[2..].iter().map(|word| word.count_ones()).sum();
        assert!(!cfg!(target_os = "linux") || u64::from(allowed) >= here[1]);
    }
}
