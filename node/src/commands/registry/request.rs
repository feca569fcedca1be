//! A call together with what came in with it.

use std::ops::Deref;

use super::{Call, Input};

/// What a command's `run` gets: the call (it dereferences to it), and the files that came with it.
#[derive(Debug)]
pub struct Request {
    call: Call,
    input: Input,
}

impl Request {
    /// A call with its input.
    pub fn new(call: Call, input: Input) -> Self {
        Self { call, input }
    }

    /// The call: cheap to clone.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// Takes the files out. A second call finds nothing.
    pub fn take_input(&mut self) -> Input {
        std::mem::replace(&mut self.input, Input::none())
    }
}

impl Deref for Request {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}
