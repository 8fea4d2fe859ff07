//! Generates the gRPC code with a compiler written in Rust, so that nobody needs protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=redial");
    let files = protox::compile(["redial/v1/link.proto", "redial/v1/operator.proto", "redial/v1/store.proto"], ["."])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
