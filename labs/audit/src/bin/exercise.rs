//! Checks the exercise; `chatlab check audit` builds and runs this.

#[tokio::main]
async fn main() -> std::process::ExitCode {
    chatlab_kit::lab::exercise_main(&chatlab_audit::LAB).await
}
