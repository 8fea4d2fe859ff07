//! The scripts, sent by their SHA and loaded again when a restarted or failed-over Redis does not know them.

use redis::Script;

#[derive(Debug)]
pub(super) struct Scripts {
    pub step: Script,
    pub end: Script,
    pub postpone: Script,
    pub release_turn: Script,
    pub amend: Script,
    pub claim_probe: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            step: Script::new(include_str!("../scripts/step.lua")),
            end: Script::new(include_str!("../scripts/end.lua")),
            postpone: Script::new(include_str!("../scripts/postpone.lua")),
            release_turn: Script::new(include_str!("../scripts/release_turn.lua")),
            amend: Script::new(include_str!("../scripts/amend.lua")),
            claim_probe: Script::new(include_str!("../scripts/claim_probe.lua")),
        }
    }
}
