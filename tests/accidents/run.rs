use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use crate::accident::Accident;
use crate::contender::Contender;
use crate::outcome::Outcome;

/// How many accidents happen at a time. They mostly wait.
const WORKERS: usize = 4;

/// Lets every accident happen to every contender. The outcomes are in the order of both.
pub(crate) fn all(accidents: &[&Accident], contenders: &[Contender]) -> Vec<Vec<Outcome>> {
    let runs = accidents
        .iter()
        .flat_map(|accident| contenders.iter().map(move |contender| (*accident, *contender)));
    let runs = Mutex::new(runs.enumerate());
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some((place, (accident, contender))) = runs.lock().unwrap().next() else {
                        return;
                    };
                    let outcome = one(accident, contender);
                    outcomes.lock().unwrap().push((place, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by_key(|(place, _)| *place);
    let outcomes: Vec<Outcome> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    outcomes.chunks(contenders.len()).map(<[Outcome]>::to_vec).collect()
}

fn one(accident: &Accident, contender: Contender) -> Outcome {
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (accident.happen)(contender)))
        .unwrap_or_else(|_| Outcome::lost("the test failed"));
    let seconds = began.elapsed().as_secs_f64();
    println!("{}, {contender}: {} ({seconds:.1} s)", accident.name, outcome.text);
    outcome
}
