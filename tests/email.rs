//! E-mail addresses: shown to be one's own by a code, in bounds of time, tries and letters.

use std::path::Path;

use chatlab::harness::Stack;
use chatlab_kit::servers::Topology;
use chatlab_load::http::{HttpClient, Response};
use serde_json::{Value, json};

use crate::common::{options, shared};

struct User {
    http: HttpClient,
    token: String,
}

impl User {
    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value, Response) {
        let body = body.map(|body| serde_json::to_vec(&body).unwrap());
        let answer = self.http.request(method.parse().unwrap(), path, Some(&self.token), body).await.unwrap();
        let said = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.status, said, answer)
    }

    async fn propose(&self, address: &str) -> (u16, Value, Response) {
        self.call("PUT", "/v1/email", Some(json!({ "address": address }))).await
    }

    async fn confirm(&self, code: &str) -> (u16, Value) {
        let (status, said, _) = self.call("POST", "/v1/email/code", Some(json!({ "code": code }))).await;
        (status, said)
    }
}

/// What the letters that wait are: to whom, and which code.
fn letters(folder: &Path) -> Vec<(String, String)> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let to = text.lines().find_map(|line| line.strip_prefix("To: ")).unwrap().to_owned();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        (to, body.split_whitespace().next().unwrap().to_owned())
    };
    names.iter().map(read).collect()
}

async fn an_address_is_shown_by_the_code_that_was_sent_there(topology: Topology) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(topology, 2);
    options.serve_args = vec!["--mail-dir".into(), folder.path().display().to_string()];
    let stack = Stack::start(options).await.unwrap();
    let made = stack.provision(3, 0).await.unwrap();
    let user = |nth: usize, server| User {
        http: HttpClient::new(&stack.http_url(server)),
        token: made.tokens[nth].clone(),
    };
    let (ada, elsewhere, bob) = (user(0, 0), user(0, 1), user(1, 1));
    let eve = [user(2, 0), user(2, 1)];
    assert_eq!(ada.call("GET", "/v1/email", None).await.1, json!({}));
    assert_eq!(ada.propose("ada@example.org\r\nBcc: all@example.org").await.1["code"], "invalid");
    assert_eq!(ada.propose("Ada@example.org").await.0, 202);
    let again = elsewhere.propose("eve@example.org").await;
    assert_eq!((again.0, again.1["code"].as_str()), (429, Some("rate_limited")));
    let wait: u64 = again.2.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let sent = letters(folder.path());
    assert_eq!(sent.len(), 1, "{sent:?}");
    let (to, code) = &sent[0];
    assert_eq!((to.as_str(), code.len()), ("Ada@example.org", 6));
    assert_eq!(elsewhere.call("GET", "/v1/email", None).await.1, json!({ "waiting": "Ada@example.org" }));
    // Somebody else's code is none.
    assert_eq!(bob.confirm(code).await.1["code"], "not_found");
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(ada.confirm(wrong).await.0, 400);
    assert_eq!(ada.confirm("12345").await.1["code"], "invalid");
    assert_eq!(elsewhere.confirm(code).await, (200, json!({ "verified": "Ada@example.org" })));
    assert_eq!(ada.confirm(code).await.1["code"], "not_found", "good once");

    assert_eq!(
        bob.propose("ADA@example.org").await.0,
        202,
        "that it is taken is not said to who can't read it"
    );
    let (_, code) = letters(folder.path()).pop().unwrap();
    assert_eq!(bob.confirm(&code).await.1["code"], "conflict");
    assert_eq!(ada.call("DELETE", "/v1/email", None).await.0, 204);
    assert_eq!(ada.call("GET", "/v1/email", None).await.1, json!({}));

    // Five tries, whichever process they come to, also all at once.
    assert_eq!(ada.propose("ada@example.org").await.0, 429, "forgetting gives no letter more");
    assert_eq!(eve[0].propose("eve@example.org").await.0, 202);
    let (_, code) = letters(folder.path()).pop().unwrap();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let tries = (0..10).map(|nth| eve[nth % 2].confirm(wrong));
    let answers = futures_util::future::join_all(tries).await;
    let counted = answers.iter().filter(|(status, _)| *status == 400).count();
    assert_eq!(counted, 5, "{answers:?}");
    assert_eq!(eve[0].confirm(&code).await.1["code"], "not_found", "not even the right one now");
    stack.stop().await.unwrap();
}

async fn where_no_mail_is_sent_it_is_said(topology: Topology) {
    let stack = shared(topology).await;
    let made = stack.provision(1, 0).await.unwrap();
    let user = User { http: HttpClient::new(&stack.http_url(0)), token: made.tokens[0].clone() };
    let (status, said, _) = user.propose("ada@example.org").await;
    assert_eq!((status, said["code"].as_str()), (403, Some("forbidden")));
    assert!(said["detail"].as_str().unwrap().contains("--mail-dir"), "{said}");
}

async fn what_can_not_be_sent_leaves_nothing_behind(topology: Topology) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(topology, 1);
    let mail = folder.path().join("mail");
    options.serve_args = vec!["--mail-dir".into(), mail.display().to_string()];
    let stack = Stack::start(options).await.unwrap();
    let made = stack.provision(1, 0).await.unwrap();
    let user = User { http: HttpClient::new(&stack.http_url(0)), token: made.tokens[0].clone() };
    std::fs::remove_dir_all(&mail).unwrap();
    assert_eq!(user.propose("ada@example.org").await.1["code"], "unavailable");
    assert_eq!(user.call("GET", "/v1/email", None).await.1, json!({}));
    std::fs::create_dir(&mail).unwrap();
    assert_eq!(user.propose("ada@example.org").await.0, 202, "at once");
    stack.stop().await.unwrap();
}

crate::on_both!(
    an_address_is_shown_by_the_code_that_was_sent_there,
    where_no_mail_is_sent_it_is_said,
    what_can_not_be_sent_leaves_nothing_behind,
);
