//! What an operator is shown.

use redial_core::Watch;

use super::{ConvertError, missing};
use crate::v1;

impl From<Watch> for v1::Watch {
    fn from(watch: Watch) -> Self {
        let record = (&watch).into();
        Self { pair: Some(watch.pair.into()), record: Some(record) }
    }
}

impl TryFrom<v1::Watch> for Watch {
    type Error = ConvertError;
    fn try_from(watch: v1::Watch) -> Result<Self, ConvertError> {
        let pair = missing(watch.pair, "watch.pair")?.into();
        missing(watch.record, "watch.record")?.into_watch(pair)
    }
}
