//! The load of `make bench`, small: nothing is lost and `/metrics` says what sipp says. How fast it is, is not this test's business.

use std::process::Command;

use anyhow::{Result, ensure};
use redial_tests::process::workspace_binary;

#[test]
fn a_short_load_loses_nothing_and_the_metrics_add_up() -> Result<()> {
    let output = Command::new(workspace_binary("load")?).arg("short").output()?;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}\n{said}\n{errors}", output.status);
    for words in ["microseconds of CPU for each", "raw UDP echo", "sip-edge", "redial-coordinator", "redis-server", "watches armed"] {
        ensure!(said.contains(words), "{words} not in:\n{said}");
    }
    Ok(())
}
