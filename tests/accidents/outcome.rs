/// What became of the data of one contender in one accident.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) survived: bool,
    /// The outcome in a few words.
    pub(crate) text: String,
}

impl Outcome {
    pub(crate) fn new(survived: bool, text: impl Into<String>) -> Self {
        Self { survived, text: text.into() }
    }

    pub(crate) fn survived(text: impl Into<String>) -> Self {
        Self::new(true, text)
    }

    pub(crate) fn lost(text: impl Into<String>) -> Self {
        Self::new(false, text)
    }
}
