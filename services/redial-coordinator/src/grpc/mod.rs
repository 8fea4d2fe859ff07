//! The coordinator's gRPC services, generic over the store.

mod link;
mod operator;

#[cfg(test)]
pub(crate) use link::Downlinks;
pub use link::LinkService;
pub use operator::OperatorService;

use redial_core::store::StoreError;
use tonic::Status;

fn store_failed(error: StoreError) -> Status {
    match error {
        StoreError::Unavailable(_) => Status::unavailable(error.to_string()),
        StoreError::Corrupt(_) => Status::data_loss(error.to_string()),
    }
}
