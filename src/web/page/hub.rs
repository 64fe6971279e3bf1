//! Which file of a repository on the Hugging Face Hub is the bot.

use serde::Deserialize;

use crate::web::protocol::Precision;

/// Where the Hub lists a repository's files.
pub fn api_url(repository: &str) -> String {
    format!("https://huggingface.co/api/models/{repository}")
}

/// Why a repository is no bot for this page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubProblem {
    /// The Hub has no such repository, or not for everybody.
    Missing,
    /// The Hub did not answer, or not as it does.
    Unreachable,
    /// It has weights, but none that a browser runs.
    NoGguf,
}

#[derive(Deserialize)]
struct Repository {
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// The bot's address in a repository, from the Hub's answer.
///
/// # Errors
/// No repository, or none with a GGUF.
pub fn find(repository: &str, status: u16, answer: &str, precision: Precision) -> Result<String, HubProblem> {
    match status {
        200 => {}
        401 | 403 | 404 => return Err(HubProblem::Missing),
        _ => return Err(HubProblem::Unreachable),
    }
    let listed: Repository = serde_json::from_str(answer).map_err(|_| HubProblem::Unreachable)?;
    let files: Vec<&str> = listed.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    let folder = format!("https://huggingface.co/{repository}/resolve/main/");
    let gguf = |file: &&&str| file.to_ascii_lowercase().ends_with(".gguf");
    if files.contains(&"bot.json") && files.iter().any(|file| gguf(&file)) {
        return Ok(folder);
    }
    let of_precision =
        |file: &&&str| gguf(file) && file.to_ascii_lowercase().contains(&precision.to_string());
    let file =
        files.iter().find(of_precision).or_else(|| files.iter().find(gguf)).ok_or(HubProblem::NoGguf)?;
    Ok(format!("{folder}{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(files: &[&str]) -> String {
        let siblings: Vec<_> = files.iter().map(|f| serde_json::json!({ "rfilename": f })).collect();
        serde_json::json!({ "id": "a/b", "siblings": siblings }).to_string()
    }

    fn found(files: &[&str]) -> Result<String, HubProblem> {
        find("a/b", 200, &answer(files), Precision::Q8_0)
    }

    #[test]
    fn a_bundle_is_its_folder_and_else_a_gguf_is_the_bot() {
        let folder = "https://huggingface.co/a/b/resolve/main/";
        assert_eq!(found(&["bot.json", "model-q8_0.gguf"]), Ok(folder.into()));
        assert_eq!(found(&["x-f16.gguf", "x-Q8_0.gguf"]), Ok(format!("{folder}x-Q8_0.gguf")));
        assert_eq!(found(&["config.json", "x-f16.gguf"]), Ok(format!("{folder}x-f16.gguf")));
    }

    #[test]
    fn what_is_no_bot_is_told_apart() {
        assert_eq!(found(&["pytorch_model.bin", "bot.json"]), Err(HubProblem::NoGguf));
        assert_eq!(find("a/b", 404, "", Precision::Q8_0), Err(HubProblem::Missing));
        assert_eq!(find("a/b", 401, "", Precision::Q8_0), Err(HubProblem::Missing));
        assert_eq!(find("a/b", 503, "", Precision::Q8_0), Err(HubProblem::Unreachable));
        assert_eq!(find("a/b", 200, "<html>", Precision::Q8_0), Err(HubProblem::Unreachable));
    }
}
