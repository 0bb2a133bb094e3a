//! The interpreter loop.

use std::io::Write;
use std::mem;

use super::Machine;
use super::barrier::Behind;
use super::call::Called;
use super::frame::{Frame, Place, Room};
use super::stack::fill;
use super::state::State;
use crate::error::RuntimeError;
use crate::object::{Closure, Function};
use crate::opcode::Op;
use crate::value::Value;

/// Why a frame's code is left.
enum Next {
    /// To enter another function.
    Enter(Frame),
    /// It has returned; the result stands in its callee's slot.
    Return,
    /// Jobs are due. It goes on after these.
    Pause,
}

/// Where a frame is: what changes with every instruction, and so is kept apart from the rest.
struct Position {
    /// The index of the next instruction.
    ip: usize,
    /// The height of the stack.
    top: usize,
}

impl Machine {
    /// Runs the innermost function until all have returned, or one has failed and no barrier holds the error up. Then the finalizers
    /// that are due by then, and none that these bring about: that need not end.
    pub(super) fn run(&mut self, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), RuntimeError> {
        self.run_frames(out, err)?;
        let mutator = self.mutator();
        mutator.run_finalizers(mutator.metrics().finalizers.due);
        self.start_turn(err)?;
        self.run_frames(out, err)
    }

    fn run_frames(&mut self, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), RuntimeError> {
        while let Err(error) = self.run_to_error(out, err) {
            self.catch(error, err)?;
        }
        Ok(())
    }

    fn run_to_error(&mut self, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), RuntimeError> {
        while let Some(frame) = self.frames.last() {
            match self.state.execute(frame, out)? {
                Next::Enter(callee) => {
                    // Before, so that the trace ends with the call.
                    self.mutator().poll(1)?;
                    self.enter(callee)?;
                }
                Next::Return => {
                    if self.leave() == Some(Behind::Job) {
                        drop(self.state.stack.pop());
                        self.start_next(err)?;
                        // After the last of a turn what was between goes on, whatever has come to be due meanwhile.
                        continue;
                    }
                }
                Next::Pause => {}
            }
            // When the script has ended there is one last turn.
            if self.state.jobs.are_due() && !self.frames.is_empty() {
                self.start_turn(err)?;
            }
        }
        Ok(())
    }

    /// Ends functions up to the innermost call that catches the error, whose result the error becomes; or if that is a job, the error is
    /// reported, and the turn goes on.
    ///
    /// # Errors
    /// The error, when there is none. Nothing has changed then; or it is a new one, as the limits outside leave too little for the
    /// error to be made or reported.
    #[cold]
    fn catch(&mut self, mut error: RuntimeError, err: &mut dyn Write) -> Result<(), RuntimeError> {
        loop {
            let catches = |frame: &Frame| frame.barrier.as_ref().is_some_and(|barrier| barrier.catches(&error));
            let Some(at) = self.frames.iter().rposition(catches) else { return Err(error) };
            let mut left: [Option<Place>; Room::WHOLE.frames] = [const { None }; Room::WHOLE.frames];
            let base = self.frames[at].base;
            let mut behind = None;
            for place in left.iter_mut().take(self.frames.len() - at) {
                *place = self.frames.last().map(Frame::place);
                behind = self.leave();
            }
            self.state.unwind_to(base);
            let left = left.iter().flatten();
            let caught = if behind == Some(Behind::Job) {
                drop(self.state.stack.pop());
                self.tell_of_job(&error, left, err).and_then(|()| self.start_next(err))
            } else {
                self.state.new_error(error, left).map(|caught| self.state.stack.replace_last(caught))
            };
            match caught {
                Ok(()) => return Ok(()),
                Err(new) => error = new,
            }
        }
    }
}

impl State {
    /// Runs the code of one frame until it calls or returns.
    #[inline(always)]
    fn execute(&mut self, frame: &Frame, out: &mut dyn Write) -> Result<Next, RuntimeError> {
        let mut at = Position { ip: frame.ip.get(), top: self.stack.top };
        let result = self.dispatch(frame, &mut at, out);
        self.stack.top = at.top;
        frame.ip.set(at.ip);
        result
    }

    /// The loop itself. When it ends, the position is behind the instruction at work, also if that has failed.
    #[inline(always)]
    fn dispatch(&mut self, frame: &Frame, at: &mut Position, out: &mut dyn Write) -> Result<Next, RuntimeError> {
        let base = frame.base;
        let upvalues = frame.closure.items();
        let function = &frame.closure.head().function;
        let constants = function.items();
        let hints = &*function.head().hints;
        let code = &*function.head().code.instructions;

        /// Something that works on the stack as all but this loop know it.
        macro_rules! with_stack {
            ($work:expr) => {{
                self.stack.top = at.top;
                let result = $work;
                at.top = self.stack.top;
                result
            }};
        }
        macro_rules! push {
            ($value:expr) => {{
                let value = $value;
                fill(&mut self.stack.slots[at.top], value);
                at.top += 1;
            }};
        }
        macro_rules! pop {
            () => {{
                at.top -= 1;
                mem::take(&mut self.stack.slots[at.top])
            }};
        }
        macro_rules! last {
            () => {
                self.stack.slots[at.top - 1]
            };
        }
        /// `[a, b] -> [result]` for numbers.
        macro_rules! numbers {
            (|$left:ident, $right:ident| $result:expr, else $otherwise:expr) => {
                match &mut self.stack.slots[..at.top] {
                    [.., left, right] => match (left.as_number(), right.as_number()) {
                        (Some($left), Some($right)) => {
                            fill(left, Value::from($result));
                            fill(right, Value::NIL);
                            at.top -= 1;
                        }
                        _ => $otherwise,
                    },
                    _ => unreachable!("HEIGHT: the stack holds the operands"),
                }
            };
            (|$left:ident, $right:ident| $result:expr) => {
                numbers!(|$left, $right| $result, else return Err(RuntimeError::new("Operands must be numbers.")))
            };
        }
        macro_rules! call {
            ($called:expr) => {
                if let Called::Frame(frame) = with_stack!($called)? {
                    return Ok(Next::Enter(frame));
                }
            };
        }

        loop {
            let instruction = code[at.ip];
            at.ip += 1;
            let first = usize::from(instruction.first);
            let second = usize::from(instruction.second);
            match instruction.op {
                Op::Constant => push!(constants[first].clone()),
                Op::Nil => push!(Value::NIL),
                Op::True => push!(Value::TRUE),
                Op::False => push!(Value::FALSE),
                Op::Pop => drop(pop!()),
                Op::GetLocal => push!(self.stack.slots[base + first].clone()),
                Op::SetLocal => self.stack.slots[base + first] = last!().clone(),
                Op::GetGlobal => match self.globals.get_hinted(&constants[first], &hints[first]) {
                    Some(value) => push!(value.clone()),
                    None => return Err(undefined_variable(&constants[first])),
                },
                Op::DefineGlobal => {
                    let value = pop!();
                    self.globals.set(self.heap.mutator(), constants[first].clone(), value)?;
                }
                Op::SetGlobal => match self.globals.get_mut_hinted(&constants[first], &hints[first]) {
                    Some(global) => *global = last!().clone(),
                    None => return Err(undefined_variable(&constants[first])),
                },
                Op::GetUpvalue => {
                    let upvalue = &upvalues[first];
                    push!(match upvalue.slot.get() {
                        Some(slot) => self.stack.slots[slot].clone(),
                        None => upvalue.closed.borrow().clone(),
                    });
                }
                Op::SetUpvalue => {
                    let upvalue = &upvalues[first];
                    let value = last!().clone();
                    match upvalue.slot.get() {
                        Some(slot) => self.stack.slots[slot] = value,
                        None => drop(upvalue.closed.replace(value)),
                    }
                }
                Op::GetProperty => with_stack!(self.get_property(&constants[first], &hints[first]))?,
                Op::SetProperty => with_stack!(self.set_property(&constants[first], &hints[first]))?,
                Op::GetSuper => with_stack!({
                    let superclass = self.pop_superclass();
                    self.bind(&superclass, &constants[first], &hints[first])
                })?,
                Op::Equal => {
                    let right = pop!();
                    let equal = last!() == right;
                    last!() = equal.into();
                }
                Op::Greater => numbers!(|left, right| left > right),
                Op::Less => numbers!(|left, right| left < right),
                Op::Add => numbers!(|left, right| left + right, else with_stack!(self.concatenate())?),
                Op::Subtract => numbers!(|left, right| left - right),
                Op::Multiply => numbers!(|left, right| left * right),
                Op::Divide => numbers!(|left, right| left / right),
                Op::Not => {
                    let value = last!().is_falsey();
                    last!() = value.into();
                }
                Op::Negate => match last!().as_number() {
                    Some(number) => fill(&mut last!(), (-number).into()),
                    None => return Err(RuntimeError::new("Operand must be a number.")),
                },
                Op::Print => with_stack!(self.print(out))?,
                Op::Jump => at.ip += second,
                Op::JumpIfFalse => {
                    if last!().is_falsey() {
                        at.ip += second;
                    }
                }
                Op::Loop => {
                    // Before, so that the trace ends with the line of the jump.
                    self.heap.mutator().poll(1)?;
                    at.ip -= second;
                    if self.jobs.are_due() {
                        return Ok(Next::Pause);
                    }
                }
                Op::Call => {
                    let slot = at.top - 1 - first;
                    match self.stack.slots[slot].as_ref::<Closure>() {
                        Some(closure) if usize::from(closure.head().function.head().arity) == first => {
                            return Ok(Next::Enter(Frame::new(closure.clone(), slot)));
                        }
                        _ => call!(self.call(slot, out)),
                    }
                }
                Op::Invoke => {
                    let slot = at.top - 1 - second;
                    call!(self.invoke(&constants[first], &hints[first], slot, out));
                }
                Op::SuperInvoke => {
                    let slot = at.top - 2 - second;
                    call!({
                        let superclass = self.pop_superclass();
                        self.invoke_from(&superclass, &constants[first], &hints[first], slot)
                    });
                }
                Op::Closure => {
                    let function = constants[first].as_ref::<Function>().expect("closures are made of functions");
                    with_stack!(self.close_over(function, frame))?;
                }
                Op::CloseUpvalue => {
                    self.open.close_from(at.top - 1, &mut self.stack.slots);
                    drop(pop!());
                }
                Op::Return => {
                    let result = pop!();
                    self.open.close_from(base, &mut self.stack.slots);
                    with_stack!(self.stack.replace_from(base, result));
                    return Ok(Next::Return);
                }
                Op::Class => with_stack!(self.new_class(&constants[first]))?,
                Op::Inherit => with_stack!(self.inherit())?,
                Op::Method => with_stack!(self.add_method(&constants[first]))?,
            }
        }
    }
}

#[cold]
fn undefined_variable(name: &Value) -> RuntimeError {
    RuntimeError::Message(format!("Undefined variable '{name}'."))
}
