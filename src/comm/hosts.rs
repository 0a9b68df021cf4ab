//! Which host each rank is on, and what follows for sums: as they are, or as a plan assumes them.

use super::{Reduction, Summation, Through};

/// The host of each rank, and how vectors are summed on such hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    of_rank: Vec<usize>,
    through: Through,
}

impl Hosts {
    /// So many ranks on each host, one host after the other, each of `cores` cores.
    pub fn even(ranks: usize, per_host: usize, cores: usize, reduction: Reduction, summation: Summation) -> Self {
        let per_host = per_host.clamp(1, ranks.max(1));
        let of_rank: Vec<usize> = (0..ranks).map(|rank| rank / per_host).collect();
        let hosts = of_rank.last().map_or(1, |last| last + 1);
        let crowded = per_host > cores && reduction != Reduction::Shared;
        let through = match reduction {
            Reduction::Messages => Through::Messages,
            _ if hosts == ranks || crowded => Through::Messages,
            _ if hosts == 1 => Through::Shared,
            _ if summation == Summation::Ordered => Through::Messages, // the tree knows no hosts
            _ => Through::SharedAndMessages,
        };
        Hosts { of_rank, through }
    }

    /// Those that ranks are on, by name, which sum in a way that they have found out ([`Team::through`](super::Team::through)).
    pub fn named(names: &[String], through: Through) -> Self {
        let first = |name: &String| names.iter().position(|other| other == name).unwrap_or_default();
        let mut leaders: Vec<usize> = names.iter().map(first).collect();
        leaders.sort_unstable();
        leaders.dedup();
        let of_rank = names.iter().map(|name| leaders.binary_search(&first(name)).unwrap_or_default()).collect();
        Hosts { of_rank, through }
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> usize {
        self.of_rank.len()
    }
    /// How many hosts there are.
    pub fn count(&self) -> usize {
        self.of_rank.iter().max().map_or(0, |last| last + 1)
    }
    /// The host of a rank, from zero in the order of their first ranks.
    pub fn of(&self, rank: usize) -> usize {
        self.of_rank[rank]
    }
    /// How vectors that every rank holds are summed.
    pub fn through(&self) -> Through {
        self.through
    }
    /// The ranks of a host.
    pub fn ranks_of(&self, host: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.ranks()).filter(move |rank| self.of_rank[*rank] == host)
    }
    /// How many hosts some ranks are on.
    pub fn among(&self, ranks: &[usize]) -> usize {
        let mut hosts: Vec<usize> = ranks.iter().map(|rank| self.of_rank[*rank]).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.len()
    }
    /// Whether a rank is the one that speaks for its host.
    pub fn leads(&self, rank: usize) -> bool {
        self.of_rank.iter().position(|host| *host == self.of_rank[rank]) == Some(rank)
    }
    /// The most ranks that one host has.
    pub fn most(&self) -> usize {
        (0..self.count()).map(|host| self.ranks_of(host).count()).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_sums_are_made_follows_from_hosts_and_cores() {
        let even = |ranks, per_host, cores, reduction, summation| {
            Hosts::even(ranks, per_host, cores, reduction, summation).through()
        };
        use Reduction::{Auto, Messages, Shared};
        use Summation::{Fast, Ordered};
        assert_eq!(even(4, 4, 4, Auto, Fast), Through::Shared);
        assert_eq!(even(4, 4, 2, Auto, Fast), Through::Messages); // crowded
        assert_eq!(even(4, 4, 2, Shared, Ordered), Through::Shared);
        assert_eq!(even(4, 4, 4, Messages, Fast), Through::Messages);
        assert_eq!(even(4, 2, 2, Auto, Fast), Through::SharedAndMessages);
        assert_eq!(even(4, 2, 2, Auto, Ordered), Through::Messages);
        assert_eq!(even(4, 1, 2, Auto, Fast), Through::Messages); // nobody shares a host
        assert_eq!(even(1, 1, 2, Auto, Fast), Through::Messages);
    }

    #[test]
    fn hosts_are_numbered_by_their_first_ranks() {
        let hosts = Hosts::named(&["b", "a", "b", "c"].map(String::from), Through::Messages);
        assert_eq!((0..4).map(|rank| hosts.of(rank)).collect::<Vec<_>>(), [0, 1, 0, 2]);
        assert_eq!((hosts.count(), hosts.most(), hosts.among(&[0, 2])), (3, 2, 1));
        assert!(hosts.leads(0) && !hosts.leads(2));
    }
}
