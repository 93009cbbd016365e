//! The `convocate-host` program.

fn main() -> convocate::exit::Exit {
    convocate::cli::host::main()
}
