//! Prints the CustomResourceDefinition.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write as _;
    Ok(std::io::stdout().write_all(redial_crd::yaml()?.as_bytes())?)
}
