//! The transactions of one worker: machines of sip-core, the bytes that they may have to send again, and whom they belong to.

pub(crate) mod client;
pub(crate) mod server;

pub(crate) use client::{Client, ClientOwner};
pub(crate) use server::Server;
