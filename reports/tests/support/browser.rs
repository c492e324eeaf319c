//! A headless Chromium, driven over its DevTools pipe: no port, no WebSocket.

use serde_json::{json, Value};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// Set where a missing browser is a failure: in CI.
pub const REQUIRED: &str = "IOMMUFD_TESTBED_NEEDS_CHROMIUM";

/// The names that distributions give it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// The browser reads commands at descriptor 3 and answers at 4, which the shell ties to our pipes.
/// It is ended after two minutes, so that a test cannot hang.
const START: &str = "exec timeout 120 \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";

/// A browser with one page.
pub struct Browser {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What happened in the page, in order.
    pub events: Vec<Value>,
    session: Option<String>,
    sent: u64,
    _profile: TempDir,
}

impl Browser {
    /// Starts one. `None`, with a word on stderr, if the machine has none and need not have one.
    pub fn start() -> Option<Browser> {
        let installed = |name: &&&str| {
            Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success())
        };
        let Some(name) = NAMES.iter().find(installed) else {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "{REQUIRED} is set, and none of {NAMES:?} runs"
            );
            eprintln!("skipped: none of {NAMES:?} is installed (Debian: apt-get install chromium)");
            return None;
        };
        let profile = TempDir::new().expect("a directory");
        let mut child = Command::new("sh")
            .args(["-c", START, name, "--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("--window-size=1300,900")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut browser = Browser {
            child,
            input,
            output,
            events: Vec::new(),
            session: None,
            sent: 0,
            _profile: profile,
        };
        let target = browser.send("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.send("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.send(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Sends a command and returns its result.
    pub fn send(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).expect("the browser runs");
        loop {
            let answer = self.receive();
            if answer["id"] == json!(self.sent) {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn receive(&mut self) -> Value {
        let mut message = Vec::new();
        self.output.read_until(0, &mut message).expect("a pipe");
        assert_eq!(message.pop(), Some(0), "the browser ended, or two minutes are over");
        serde_json::from_slice(&message).expect("JSON")
    }

    /// Opens a file and waits until it is loaded.
    pub fn open(&mut self, file: &Path) {
        self.events.clear();
        self.send("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        while !self.events.iter().any(|e| e["method"] == "Page.loadEventFired") {
            let event = self.receive();
            self.events.push(event);
        }
    }

    /// The value of an expression; a promise is waited for.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.send("Runtime.evaluate", asked);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Goes to a part of the page, as a click on a link does.
    pub fn go(&mut self, hash: &str) {
        self.value(&format!(
            "new Promise(done => {{ addEventListener('hashchange', () => setTimeout(done), \
             {{ once: true }}); location.hash = {hash:?}; }})"
        ));
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str) {
        // The focus moves by the number of the key.
        let number = if key == "Tab" { 9 } else { 0 };
        for kind in ["keyDown", "keyUp"] {
            let pressed = json!({ "type": kind, "key": key, "code": key,
                "windowsVirtualKeyCode": number });
            self.send("Input.dispatchKeyEvent", pressed);
        }
    }

    /// What went wrong in the page: exceptions, messages of the console, refused loads.
    pub fn errors(&self) -> Vec<&Value> {
        let wrong = ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"];
        self.events.iter().filter(|e| wrong.iter().any(|w| e["method"] == *w)).collect()
    }

    /// What the page asked for, but for itself and for what stands in it.
    pub fn requests(&self, file: &Path) -> Vec<String> {
        let own = format!("file://{}", file.display());
        let asked = self.events.iter().filter(|e| e["method"] == "Network.requestWillBeSent");
        let urls = asked.filter_map(|e| e["params"]["request"]["url"].as_str());
        urls.filter(|u| *u != own && !u.starts_with("data:")).map(str::to_owned).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // `timeout` passes the signal on; there is nobody to tell if it has ended before.
        let _ = self.input.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.child.wait();
    }
}
