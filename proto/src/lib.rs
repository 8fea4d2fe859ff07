//! The wire and storage format: code generated from `proto/redial/v1`, and the only conversions between it and the domain.

pub mod convert;

/// Generated from `proto/redial/v1/*.proto`; those files are the documentation.
#[allow(clippy::all, clippy::pedantic, missing_docs, missing_debug_implementations)]
pub mod v1 {
    tonic::include_proto!("redial.v1");
}

pub use convert::ConvertError;
