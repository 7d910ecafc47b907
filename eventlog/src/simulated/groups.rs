//! Who owns which partition.

use schemas::Topic;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

pub type Place = (Topic, u32);

/// A partition as it was given to a member: at which epoch, because a member may take notice of it
/// when somebody else has it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    pub place: Place,
    pub epoch: u64,
}

/// A change that a member has not taken notice of yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Assigned(Vec<Grant>),
    Revoked(Vec<Place>),
}

#[derive(Default)]
struct Member {
    owned: BTreeSet<Place>,
    changes: VecDeque<Change>,
}

/// The members of a group and what is theirs.
#[derive(Default)]
pub struct Group {
    places: BTreeSet<Place>,
    members: BTreeMap<u64, Member>,
    /// Grows whenever a partition changes hands or is reopened: older handles are fenced.
    epochs: HashMap<Place, u64>,
    last_member: u64,
}

impl Group {
    pub fn join(&mut self, places: impl IntoIterator<Item = Place>) -> u64 {
        self.places.extend(places);
        self.last_member += 1;
        self.members.insert(self.last_member, Member::default());
        self.spread();
        self.last_member
    }

    pub fn leave(&mut self, member: u64) {
        if self.members.remove(&member).is_some() {
            self.spread();
        }
    }

    /// Gives every partition to the member whose turn it is.
    fn spread(&mut self) {
        let members: Vec<u64> = self.members.keys().copied().collect();
        let places: Vec<Place> = self.places.iter().copied().collect();
        if members.is_empty() {
            return;
        }
        let plan = places.into_iter().enumerate();
        self.hand_over(plan.map(|(n, place)| (place, members[n % members.len()])).collect());
    }

    /// Moves partitions to members.
    pub fn hand_over(&mut self, plan: Vec<(Place, u64)>) {
        let mut revoked: BTreeMap<u64, Vec<Place>> = BTreeMap::new();
        let mut assigned: BTreeMap<u64, Vec<Grant>> = BTreeMap::new();
        for (place, to) in plan {
            let from = self.owner(place);
            if from == Some(to) {
                continue;
            }
            if let Some(from) = from {
                revoked.entry(from).or_default().push(place);
            }
            let grant = self.grant(place);
            assigned.entry(to).or_default().push(grant);
        }
        for (member, places) in revoked {
            if let Some(member) = self.members.get_mut(&member) {
                member.owned.retain(|place| !places.contains(place));
                member.changes.push_back(Change::Revoked(places));
            }
        }
        for (member, grants) in assigned {
            if let Some(member) = self.members.get_mut(&member) {
                member.owned.extend(grants.iter().map(|grant| grant.place));
                member.changes.push_back(Change::Assigned(grants));
            }
        }
    }

    /// Begins a new epoch of a partition.
    fn grant(&mut self, place: Place) -> Grant {
        let epoch = self.epochs.entry(place).or_default();
        *epoch += 1;
        Grant { place, epoch: *epoch }
    }

    pub fn owner(&self, place: Place) -> Option<u64> {
        self.members.iter().find(|(_, member)| member.owned.contains(&place)).map(|(id, _)| *id)
    }

    pub fn members(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    pub fn owns(&self, member: u64, place: Place) -> bool {
        self.members.get(&member).is_some_and(|member| member.owned.contains(&place))
    }

    pub fn epoch(&self, place: Place) -> u64 {
        self.epochs.get(&place).copied().unwrap_or_default()
    }

    /// Hands a partition to the same member anew.
    pub fn reopen(&mut self, member: u64, place: Place) {
        if self.owns(member, place) {
            let grant = self.grant(place);
            if let Some(member) = self.members.get_mut(&member) {
                member.changes.push_back(Change::Assigned(vec![grant]));
            }
        }
    }

    pub fn next_change(&mut self, member: u64) -> Option<Change> {
        self.members.get_mut(&member)?.changes.pop_front()
    }

    /// The rest of a change that is taken notice of one partition at a time.
    pub fn put_back(&mut self, member: u64, change: Change) {
        if let Some(member) = self.members.get_mut(&member) {
            member.changes.push_front(change);
        }
    }
}
