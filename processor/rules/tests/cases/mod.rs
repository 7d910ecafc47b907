mod absurd;
mod allocations;
mod reversals;
mod size;
mod tables;
mod wild;
mod worked;
mod years;
