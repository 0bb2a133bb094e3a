//! What `src/sys` declares publicly, as C: one line for `vendor/abi_check.c` for each function, type, field and constant.
//!
//! It reads plain Rust, the text that the Rust compiler sees, and stops at whatever it does not know how to say in C.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::{Expr, Fields, ForeignItem, Item, ReturnType, Type, Visibility};

pub(crate) struct Declared {
    /// The lines for `vendor/abi_check.c`.
    pub(crate) c: String,
    /// What is declared: `function NAME`, `type NAME` or `constant NAME`.
    pub(crate) names: Vec<String>,
}

/// The declarations in the modules of `directory` that are there for this engine.
pub(crate) fn read(directory: &Path, engine: &str) -> Declared {
    let mut reader =
        Reader { engine, file: PathBuf::new(), declared: Declared { c: String::new(), names: Vec::new() } };
    for item in parse(&directory.join("mod.rs")).items {
        match item {
            Item::Mod(module) if reader.is_for_engine(&module.attrs) => {
                let name = module.ident.to_string();
                let file = directory.join(format!("{name}.rs"));
                reader.file = if file.exists() { file } else { directory.join(name).join("mod.rs") };
                for item in parse(&reader.file).items {
                    reader.item(item);
                }
            }
            _ => {}
        }
    }
    reader.declared
}

fn parse(path: &Path) -> syn::File {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    syn::parse_file(&text).unwrap_or_else(|error| panic!("cannot parse {}: {error}", path.display()))
}

struct Reader<'a> {
    engine: &'a str,
    file: PathBuf,
    declared: Declared,
}

impl Reader<'_> {
    fn item(&mut self, item: Item) {
        match item {
            Item::ForeignMod(block) if self.is_for_engine(&block.attrs) => {
                for item in block.items {
                    let ForeignItem::Fn(function) = &item else { self.unknown(&item, "item in an extern block") };
                    if self.is_for_engine(&function.attrs) {
                        self.function(&function.sig);
                    }
                }
            }
            Item::Const(item) if is_public(&item.vis) && self.is_for_engine(&item.attrs) => {
                let name = item.ident.to_string();
                // Read from the header in the first place, at build time.
                if name != "MI_MALLOC_VERSION" {
                    let value = self.value(&item.expr);
                    self.line(&item, &format!("CONSTANT({name}, {value});"));
                }
                self.name("constant", &name);
            }
            Item::Type(item) if is_public(&item.vis) && self.is_for_engine(&item.attrs) => {
                let name = item.ident.to_string();
                let line = match &*item.ty {
                    Type::BareFn(function) => {
                        let arguments = function.inputs.iter().map(|argument| &argument.ty);
                        let takes = self.arguments(arguments);
                        let returns = self.returns(&function.output);
                        format!("CALLBACK({name}, {returns}, {takes});")
                    }
                    Type::Path(path) if path.path.is_ident("c_int") => format!("INTEGER({name}, int);"),
                    other => format!("ALIAS({name}, {});", self.c_type(other)),
                };
                self.line(&item, &line);
                self.name("type", &name);
            }
            Item::Struct(item) if is_public(&item.vis) && self.is_for_engine(&item.attrs) => self.structure(&item),
            Item::Fn(item) if is_public(&item.vis) => self.unknown(&item, "public function"),
            Item::Static(item) if is_public(&item.vis) => self.unknown(&item, "public static"),
            Item::Enum(item) if is_public(&item.vis) => self.unknown(&item, "public enum"),
            Item::Union(item) if is_public(&item.vis) => self.unknown(&item, "public union"),
            // Implementations, imports, and what the crate keeps to itself.
            _ => {}
        }
    }

    fn function(&mut self, signature: &syn::Signature) {
        let name = signature.ident.to_string();
        let arguments = signature.inputs.iter().map(|argument| match argument {
            syn::FnArg::Typed(argument) => &*argument.ty,
            syn::FnArg::Receiver(receiver) => self.unknown(receiver, "argument"),
        });
        let takes = self.arguments(arguments);
        let returns = self.returns(&signature.output);
        self.line(signature, &format!("FUNCTION({name}, {returns}, {takes});"));
        // What is of vendor/ is checked like the rest, but is no part of the engine's API.
        if !name.starts_with("mimalloc_runtime_") {
            self.name("function", &name);
        }
    }

    fn structure(&mut self, item: &syn::ItemStruct) {
        let name = item.ident.to_string();
        self.name("type", &name);
        let Fields::Named(fields) = &item.fields else { self.unknown(item, "structure without named fields") };
        if !fields.named.iter().any(|field| is_public(&field.vis)) {
            self.line(item, &format!("OPAQUE({name});"));
            return;
        }
        let mut members = String::new();
        let mut checks = Vec::new();
        let mut align = self.alignment(item);
        for field in &fields.named {
            if !self.is_for_engine(&field.attrs) {
                continue;
            }
            let ident = field.ident.as_ref().expect("a named field");
            // A member, and a pointer to one.
            let (member, pointer) = match &field.ty {
                Type::Array(array) => {
                    let (element, length) = (self.c_type(&array.elem), self.value(&array.len));
                    (format!("{element} {ident}[{length}]"), format!("{element} (*)[{length}]"))
                }
                other => {
                    let member = self.c_type(other);
                    (format!("{member} {ident}"), format!("{member}*"))
                }
            };
            write!(members, " {}{member};", align.take().unwrap_or_default()).expect("to a string");
            checks.push((field, format!("FIELD({name}, {ident}, {pointer});")));
        }
        self.line(item, &format!("struct sys_{name} {{{members} }};"));
        self.line(item, &format!("STRUCTURE({name});"));
        for (field, check) in checks {
            self.line(field, &check);
        }
    }

    /// An alignment that the structure asks for, in front of its first member.
    fn alignment(&self, item: &syn::ItemStruct) -> Option<String> {
        let mut is_c = false;
        let mut align = None;
        for attribute in item.attrs.iter().filter(|attribute| attribute.path().is_ident("repr")) {
            attribute
                .parse_nested_meta(|meta| {
                    if meta.path.is_ident("C") {
                        is_c = true;
                        return Ok(());
                    }
                    if meta.path.is_ident("align") {
                        let content;
                        syn::parenthesized!(content in meta.input);
                        align = Some(format!("_Alignas({}) ", content.parse::<syn::LitInt>()?.base10_digits()));
                        return Ok(());
                    }
                    Err(meta.error("neither C nor align"))
                })
                .unwrap_or_else(|error| self.unknown(item, &format!("repr ({error})")));
        }
        if !is_c {
            self.unknown(item, "structure without repr(C)");
        }
        align
    }

    fn arguments<'t>(&self, types: impl Iterator<Item = &'t Type>) -> String {
        let list: Vec<String> = types.map(|one| self.c_type(one)).collect();
        if list.is_empty() { "(void)".to_owned() } else { format!("({})", list.join(", ")) }
    }

    fn returns(&self, output: &ReturnType) -> String {
        match output {
            ReturnType::Default => "void".to_owned(),
            ReturnType::Type(_, returned) => self.c_type(returned),
        }
    }

    fn c_type(&self, rust: &Type) -> String {
        match rust {
            Type::Ptr(pointer) => {
                let constant = if pointer.mutability.is_none() { " const" } else { "" };
                format!("{}{constant}*", self.c_type(&pointer.elem))
            }
            Type::Path(path) => {
                let segment = path.path.segments.last().expect("a path has a segment");
                if let (true, Some(function)) = (segment.ident == "Option", generic_argument(segment)) {
                    // An optional function is a pointer to one.
                    return format!("{}*", self.c_type(function));
                }
                let name = segment.ident.to_string();
                match name.as_str() {
                    "bool" | "wchar_t" => &name,
                    "usize" => "size_t",
                    "u64" => "uint64_t",
                    "i64" => "int64_t",
                    "c_void" => "void",
                    "c_char" => "char",
                    "c_uchar" => "unsigned char",
                    "c_int" => "int",
                    "c_long" => "long",
                    "c_ulonglong" => "unsigned long long",
                    "c_double" => "double",
                    // The engine's own have its names.
                    own if own.starts_with("mi_") => own,
                    _ => self.unknown(rust, "type"),
                }
                .to_owned()
            }
            _ => self.unknown(rust, "type"),
        }
    }

    fn value(&self, rust: &Expr) -> String {
        match rust {
            Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(number), .. }) => number.base10_digits().to_owned(),
            Expr::Path(path) => {
                path.path.require_ident().map_or_else(|_| self.unknown(rust, "path"), |id| id.to_string())
            }
            Expr::Cast(cast) => self.value(&cast.expr),
            Expr::Binary(binary) => {
                let operator = match binary.op {
                    syn::BinOp::Add(_) => "+",
                    syn::BinOp::Mul(_) => "*",
                    _ => self.unknown(rust, "operator"),
                };
                format!("({} {operator} {})", self.value(&binary.left), self.value(&binary.right))
            }
            // size_of::<usize>()
            Expr::Call(call) => {
                let Expr::Path(path) = &*call.func else { self.unknown(rust, "call") };
                match path.path.segments.last().map(|last| (last.ident == "size_of", generic_argument(last))) {
                    Some((true, Some(measured))) => format!("sizeof({})", self.c_type(measured)),
                    _ => self.unknown(rust, "call"),
                }
            }
            _ => self.unknown(rust, "value"),
        }
    }

    /// Whether none of the attributes takes the item away from this engine.
    fn is_for_engine(&self, attributes: &[syn::Attribute]) -> bool {
        attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).all(|attribute| match attribute
            .parse_args::<syn::MetaNameValue>(
        ) {
            Ok(syn::MetaNameValue {
                path, value: Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(version), .. }), ..
            }) if path.is_ident("engine") => version.value() == self.engine,
            _ => self.unknown(attribute, "condition"),
        })
    }

    /// A line of C that is said to be what `place` says in Rust.
    fn line(&mut self, place: &impl Spanned, c: &str) {
        let line = place.span().start().line;
        writeln!(self.declared.c, "#line {line} \"{}\"\n{c}", self.file.display()).expect("to a string");
    }

    fn name(&mut self, kind: &str, name: &str) {
        self.declared.names.push(format!("{kind} {name}"));
    }

    fn unknown(&self, place: &impl Spanned, what: &str) -> ! {
        let line = place.span().start().line;
        panic!("{}:{line}: this {what} is not known to build/declarations.rs", self.file.display());
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// `T` of `name<T>`.
fn generic_argument(segment: &syn::PathSegment) -> Option<&Type> {
    match &segment.arguments {
        syn::PathArguments::AngleBracketed(list) => match list.args.first() {
            Some(syn::GenericArgument::Type(argument)) => Some(argument),
            _ => None,
        },
        _ => None,
    }
}
