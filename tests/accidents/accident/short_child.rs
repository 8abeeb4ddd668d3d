use super::Accident;
use crate::contender::Contender;
use crate::outcome::Outcome;
use crate::restoration::Content;
use crate::scene::Scene;
use crate::writer;

const STATUS: u8 = 3;

pub(super) const ACCIDENT: Accident =
    Accident { name: "short_child", title: "A child writes and ends at once with 3", happen };

fn happen(contender: Contender) -> Outcome {
    let scene = Scene::new(contender);
    scene.replicate_once(60);
    let line = writer::line(&scene.database(), 40, STATUS);
    let mut daemon = scene.start(&["replicate", "-exec", &line]);
    let status = daemon.wait_within(contender.patience());
    let restored = scene.restore(&[]);
    let is_all = restored.rows() == Some(100) && status == Some(STATUS.into());
    let text = match (status, restored.content()) {
        (None, _) => "hangs".to_owned(),
        (Some(status), Content::Rows(rows)) => format!("{rows} of 100 rows, exit {status}"),
        (Some(status), content) => format!("{content}, exit {status}"),
    };
    Outcome::new(is_all, text)
}
