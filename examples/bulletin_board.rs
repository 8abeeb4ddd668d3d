//! A bulletin board in one SQLite file: the kind of application that Litestream is made for.
//!
//! ```text
//! cargo run --example bulletin_board -- bbs.sqlite 127.0.0.1:8989
//! ```
//!
//! It makes the file and its tables if they are missing, and knows nothing of WAL mode or of
//! replication: whatever is backed up beside it, it is not involved.

use std::env;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::task::block_in_place;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS authors (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    );
    CREATE TABLE IF NOT EXISTS posts (
        id INTEGER PRIMARY KEY,
        author INTEGER NOT NULL REFERENCES authors,
        text TEXT NOT NULL,
        posted TEXT NOT NULL DEFAULT (datetime('now'))
    );
";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "/data/bbs.sqlite".into());
    let address = arguments.next().unwrap_or_else(|| "0.0.0.0:8989".into());

    let board = Board::open(path.as_ref()).with_context(|| format!("open {path}"))?;
    let routes = Router::new()
        .route("/", get(show).post(add))
        .route("/posts", get(list))
        .with_state(Arc::new(board));
    let listener =
        TcpListener::bind(&address).await.with_context(|| format!("listen on {address}"))?;
    let mut terminated = signal(SignalKind::terminate())?;
    eprintln!("the posts of {path} are at http://{}", listener.local_addr()?);
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await?;
    Ok(())
}

#[derive(Serialize)]
struct Post {
    id: i64,
    author: String,
    text: String,
    posted: String,
}

struct Board(Mutex<Connection>);

impl Board {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        let database = Connection::open(path)?;
        // A checkpoint of somebody else is waited for, and does not become an error.
        database.busy_timeout(Duration::from_secs(5))?;
        database.pragma_update(None, "foreign_keys", true)?;
        database.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(database)))
    }

    /// The newest first.
    async fn posts(&self) -> rusqlite::Result<Vec<Post>> {
        let database = self.0.lock().await;
        block_in_place(|| {
            let mut posts = database.prepare(
                "SELECT posts.id, name, text, posted FROM posts JOIN authors ON authors.id = author
                 ORDER BY posts.id DESC",
            )?;
            let posts = posts.query_map((), |row| {
                Ok(Post {
                    id: row.get(0)?,
                    author: row.get(1)?,
                    text: row.get(2)?,
                    posted: row.get(3)?,
                })
            })?;
            posts.collect()
        })
    }

    async fn add(&self, author: &str, text: &str) -> rusqlite::Result<()> {
        let mut database = self.0.lock().await;
        block_in_place(|| {
            // A transaction that begins with a read cannot wait for its turn to write.
            let addition = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            addition.execute(
                "INSERT INTO authors (name) VALUES (?1) ON CONFLICT DO NOTHING",
                [author],
            )?;
            addition.execute(
                "INSERT INTO posts (author, text) SELECT id, ?2 FROM authors WHERE name = ?1",
                [author, text],
            )?;
            addition.commit()
        })
    }
}

async fn show(State(board): State<Arc<Board>>) -> Result<Html<String>, Failure> {
    let mut page = String::from(
        "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>Bulletin board</title>\n\
         <h1>Bulletin board</h1>\n<form method=\"post\">\n\
         <p><input name=\"author\" placeholder=\"Name\" required>\n\
         <p><textarea name=\"text\" rows=\"4\" cols=\"60\" required></textarea>\n\
         <p><button>Post</button>\n</form>\n",
    );
    for Post { author, text, posted, .. } in board.posts().await? {
        let (author, text) = (escape(&author), escape(&text));
        // Writing to a string cannot fail.
        let _ = writeln!(page, "<hr>\n<p><b>{author}</b>, {posted}\n<p>{text}");
    }
    Ok(Html(page))
}

async fn list(State(board): State<Arc<Board>>) -> Result<Response, Failure> {
    let posts = serde_json::json!(board.posts().await?).to_string();
    Ok(([(header::CONTENT_TYPE, "application/json")], posts).into_response())
}

async fn add(State(board): State<Arc<Board>>, form: String) -> Result<Redirect, Failure> {
    let field = |name| {
        let mut fields = form_urlencoded::parse(form.as_bytes());
        let value = fields.find_map(|(key, value)| (key == name).then(|| value.trim().to_owned()));
        value.filter(|value| !value.is_empty()).ok_or(Failure::Missing(name))
    };
    board.add(&field("author")?, &field("text")?).await?;
    Ok(Redirect::to("/"))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

enum Failure {
    Missing(&'static str),
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Missing(field) => {
                (StatusCode::BAD_REQUEST, format!("the field {field} is missing\n"))
            }
            Self::Database(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
            }
            Self::Database(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
        .into_response()
    }
}
