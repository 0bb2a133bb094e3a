//! A bytecode virtual machine for Lox.
//!
//! Source text becomes code in one pass and without a syntax tree: the
//! [`scanner`] cuts it into [`token`]s, and the [`compiler`] writes
//! instructions, described once in [`opcode`], into a [`proto::Proto`]. None
//! of these modules knows of a heap: a `Proto` is plain data, from which a
//! [`machine`] makes the objects that it runs. Those live in the heap of a
//! `mimalloc_runtime::Mutator`, are counted, and are freed in bounded steps;
//! variables, fields and the stack hold them as [`value`]s. Programs can refer to objects weakly, and have functions called when instances
//! have become garbage; when, and between what, is said in the README of this package.

pub mod compiler;
pub mod disassembler;
mod draft;
pub mod error;
mod halves;
mod hash;
mod heap;
mod intern;
mod jobs;
pub mod machine;
mod meter;
mod names;
mod natives;
mod number;
mod object;
pub mod opcode;
pub mod proto;
pub mod scanner;
pub mod token;
pub mod value;
