//! Writes the JSON Schemas of the configuration documents into `schemas/json`.

fn main() -> std::io::Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/json");
    std::fs::create_dir_all(folder)?;
    for (name, text) in admin::apply::schema::all() {
        std::fs::write(format!("{folder}/{name}"), text)?;
    }
    Ok(())
}
