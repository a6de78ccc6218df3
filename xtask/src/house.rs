//! `cargo xtask house`: how the source hangs together, measured from the files themselves.
//!
//! Which files import each other in a circle, which structs many files take whole, how dense
//! asserts are and how long functions, by crate. `cargo xtask tidy` holds what this prints.

pub(crate) mod circles;
pub(crate) mod figures;
mod names;
pub(crate) mod read;
mod ways;
pub(crate) mod whole;

use anyhow::Result;
use clap::Args;
use comfy_table::Table;

use crate::process;
use read::House;

/// Structs that fewer files take whole are not printed.
const SHOWN_FILES_MIN: usize = 3;

/// What to print.
#[derive(Debug, Args)]
pub(crate) struct HouseArgs {
    /// Prints every import of each circle.
    #[arg(long)]
    imports: bool,
}

impl HouseArgs {
    /// Measures the tree and prints it.
    ///
    /// # Errors
    /// When a file cannot be read as Rust.
    pub(crate) fn run(&self) -> Result<()> {
        let house = House::read(&process::workspace())?;
        println!("{}", figures::table(&house));
        for circle in circles::find(&house) {
            println!("circle of {} files:", circle.files.len());
            for file in &circle.files {
                println!("  {}", house.files[*file].name);
            }
            let shown = if self.imports { circle.imports.len() } else { 0 };
            for import in circle.imports.iter().take(shown) {
                let (from, to) = (&house.files[import.from].name, &house.files[import.to].name);
                println!("    {from} -> {to}: {}", import.names.join(", "));
            }
        }
        let mut table = Table::new();
        table.set_header(["struct", "files that take it whole"]);
        for taken in whole::find(&house).iter().filter(|taken| SHOWN_FILES_MIN <= taken.by.len()) {
            let name = format!("{} in {}", taken.name, house.files[taken.file].name);
            table.add_row([name, taken.by.len().to_string()]);
        }
        println!("{table}");
        Ok(())
    }
}
