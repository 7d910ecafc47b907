mod size;
mod worked;
