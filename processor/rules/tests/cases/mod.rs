mod size;
mod tables;
mod worked;
