//! The program: parse, run, return the exit status. Everything else is in [`stackphys::app`].

fn main() -> std::process::ExitCode {
    stackphys::app::main()
}
