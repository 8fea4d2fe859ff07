//! Policy files for tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The default policy of a policy file, and its rules. Starts with short waits, so that no test is slow, and with the rungs that make no
/// phone ring.
#[derive(Clone, Debug)]
pub struct Policy(BTreeMap<&'static str, String>, String);

impl Default for Policy {
    fn default() -> Self {
        Self(BTreeMap::new(), String::new())
            .set("settle", "\"0s\"")
            .set("ladder", "[1, 2]")
            .set("recallTimeout", "\"5s\"")
            .set("retryInitial", "\"1s\"")
            .set("periodMin", "\"1s\"")
    }
}

impl Policy {
    /// `value` is TOML: quoted where TOML wants quotes.
    #[must_use]
    pub fn set(mut self, field: &'static str, value: impl ToString) -> Self {
        self.0.insert(field, value.to_string());
        self
    }

    /// A rule after those that are there; `lines` are TOML.
    #[must_use]
    pub fn rule(mut self, lines: &str) -> Self {
        let _ = writeln!(self.1, "[[rule]]\n{lines}");
        self
    }

    #[must_use]
    pub fn toml(&self) -> String {
        let default = self.0.iter().fold(String::from("[default]\n"), |mut text, (field, value)| {
            let _ = writeln!(text, "{field} = {value}");
            text
        });
        default + &self.1
    }
}
