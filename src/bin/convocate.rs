//! The `convocate` program.

fn main() -> convocate::exit::Exit {
    convocate::cli::convocate::main()
}
