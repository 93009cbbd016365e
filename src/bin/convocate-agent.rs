//! The `convocate-agent` program.

fn main() -> convocate::exit::Exit {
    convocate::cli::agent::main()
}
