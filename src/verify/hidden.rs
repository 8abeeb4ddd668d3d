use std::time::Duration;

use super::Defect;
use crate::catalog;
use crate::format::{Generation, History};
use crate::store::{self, ObjectStore};

/// How often to look, and how long to wait in between, before it is believed that a generation is
/// hidden: it may just be beginning.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// What is wrong if a restore takes another generation than the one that was replicated to last.
/// `None`: it takes that one, or that one has no snapshot.
///
/// The clock of the store was set back, or the objects were copied, or touched.
pub fn hidden(histories: &[History], generation: Generation) -> Option<Defect> {
    let other = History::hiding(histories, generation)?;
    let of = histories.iter().find(|history| history.generation == generation)?;
    let (object, _) = of.newest()?;
    let problem = format!(
        "it is what was replicated last, and a restore takes generation {other} without \
         -generation: that is later by the clock of the store"
    );
    Some(Defect { object, problem })
}

/// Looks for what is [`hidden`] of the generation that `replicated` gives, which is asked each
/// time.
pub async fn find_hidden(
    store: &impl ObjectStore,
    mut replicated: impl FnMut() -> Option<Generation>,
) -> store::Result<Option<Defect>> {
    let mut found = None;
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let Some(generation) = replicated() else { return Ok(None) };
        found = hidden(&catalog::histories(store, 1).await?, generation);
        if found.is_none() {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_that_a_restore_does_not_take_is_named() {
        let histories = [(7, "00000000@1"), (8, "00000000@2")];
        let histories = histories.map(|(of, name)| History::of_names(of, &[name]));
        let find = |of: u64| hidden(&histories, Generation::from_bits(of));
        assert_eq!((find(8), find(9)), (None, None));
        let Defect { object, problem } = find(7).unwrap();
        assert_eq!(object.generation(), Generation::from_bits(7));
        assert!(problem.contains("takes generation 0000000000000008 "), "{problem}");
    }
}
