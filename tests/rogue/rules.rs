use super::fault::Fault;
use super::request::{Kind, Request};

/// Which requests a fault strikes: all, unless restricted.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    fault: Fault,
    kinds: Vec<Kind>,
    /// The text that the keys must contain.
    part: &'static str,
    /// How many more requests it strikes, or `None` for any number.
    left: Option<u32>,
    chance: f64,
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self { fault, kinds: Vec::new(), part: "", left: None, chance: 1.0 }
    }
}

impl Rule {
    /// Strikes only requests of these kinds.
    pub(crate) fn on(mut self, kinds: &[Kind]) -> Self {
        self.kinds = kinds.to_vec();
        self
    }

    /// Strikes only requests whose keys contain `part`.
    pub(crate) fn about(mut self, part: &'static str) -> Self {
        self.part = part;
        self
    }

    /// Strikes at most `times` requests.
    pub(crate) fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    /// Strikes requests only with this probability.
    pub(crate) fn sometimes(mut self, chance: f64) -> Self {
        self.chance = chance;
        self
    }

    fn strikes(&self, request: &Request, random: &mut fastrand::Rng) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&request.kind))
            && request.key.contains(self.part)
            && self.left != Some(0)
            && random.f64() < self.chance
    }
}

/// All rules, in the order in which they apply.
#[derive(Debug)]
pub(super) struct Rules {
    in_order: Vec<Rule>,
    random: fastrand::Rng,
    struck: u32,
}

impl Rules {
    /// `seed` determines when rules strike that strike only sometimes.
    pub(super) fn new(seed: u64) -> Self {
        Self { in_order: Vec::new(), random: fastrand::Rng::with_seed(seed), struck: 0 }
    }

    pub(super) fn add(&mut self, rule: Rule) {
        self.in_order.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.in_order.clear();
    }

    /// What goes wrong with a request: the first rule that strikes it decides.
    pub(super) fn strike(&mut self, request: &Request) -> Option<Fault> {
        let random = &mut self.random;
        let rule = self.in_order.iter_mut().find(|rule| rule.strikes(request, random))?;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        self.struck += 1;
        Some(rule.fault)
    }

    /// How many requests were struck so far.
    pub(super) fn struck(&self) -> u32 {
        self.struck
    }
}
