mod size;
mod tables;
mod wild;
mod worked;
