//! What the derive accepts, and what it says to the rest.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Generics, Member, Result, Type};

/// A type for which `Trace` can be derived.
pub(crate) struct Input<'a> {
    pub(crate) name: &'a Ident,
    pub(crate) generics: &'a Generics,
    pub(crate) shape: Shape<'a>,
    /// Whether it is said to be in no cycles.
    pub(crate) acyclic: bool,
}

pub(crate) enum Shape<'a> {
    Struct(Variant<'a>),
    Enum(Vec<Variant<'a>>),
}

/// Fields that a value has all at once: those of a struct, or of one variant of an enum.
pub(crate) struct Variant<'a> {
    /// `Self`, or `Self::Variant`.
    pub(crate) path: TokenStream,
    pub(crate) fields: Vec<Field<'a>>,
}

pub(crate) struct Field<'a> {
    pub(crate) member: Member,
    pub(crate) ty: &'a Type,
    /// The name under which the generated code knows a reference to the field. Shows the field's type in errors.
    pub(crate) binding: Ident,
    pub(crate) role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Traced,
    Skipped,
}

impl<'a> Input<'a> {
    /// The type, or everything that is wrong with it.
    pub(crate) fn of(input: &'a DeriveInput) -> Result<Input<'a>> {
        let mut errors = Errors(None);
        for lifetime in input.generics.lifetimes() {
            errors.add(Error::new_spanned(
                lifetime,
                "a type that derives `Trace` cannot have lifetime parameters: an object may outlive any borrow. Own the \
                 value, share it, or borrow it for `'static`",
            ));
        }
        refuse_packed(&input.attrs, &mut errors);
        let acyclic = says("acyclic", &input.attrs, &mut errors);
        let shape = match &input.data {
            Data::Struct(data) => {
                Shape::Struct(Variant::of(quote_spanned!(input.ident.span()=> Self), &data.fields, &mut errors))
            }
            Data::Enum(data) => {
                let variant = |variant: &'a syn::Variant| {
                    refuse_options(
                        &variant.attrs,
                        "`#[trace(...)]` belongs on a field: mark each field of the variant that is to be skipped",
                        &mut errors,
                    );
                    // As written by the derive, or a variant that is deprecated would warn of its own definition.
                    let mut name = variant.ident.clone();
                    name.set_span(name.span().resolved_at(Span::call_site()));
                    Variant::of(quote_spanned!(name.span()=> Self::#name), &variant.fields, &mut errors)
                };
                Shape::Enum(data.variants.iter().map(variant).collect())
            }
            Data::Union(data) => {
                errors.add(Error::new_spanned(
                    data.union_token,
                    "`Trace` cannot be derived for a union: nothing says which of its fields is in use",
                ));
                Shape::Enum(Vec::new())
            }
        };
        match errors.0 {
            None => Ok(Input { name: &input.ident, generics: &input.generics, shape, acyclic }),
            Some(errors) => Err(errors),
        }
    }

    pub(crate) fn variants(&self) -> &[Variant<'a>] {
        match &self.shape {
            Shape::Struct(only) => std::slice::from_ref(only),
            Shape::Enum(variants) => variants,
        }
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &Field<'a>> {
        self.variants().iter().flat_map(|variant| &variant.fields)
    }
}

impl<'a> Variant<'a> {
    fn of(path: TokenStream, fields: &'a Fields, errors: &mut Errors) -> Variant<'a> {
        let field = |(member, (number, field)): (Member, (usize, &'a syn::Field))| Field {
            member,
            ty: &field.ty,
            binding: format_ident!("__field_{number}", span = Span::mixed_site().located_at(field.ty.span())),
            role: if says("skip", &field.attrs, errors) { Role::Skipped } else { Role::Traced },
        };
        Variant { path, fields: fields.members().zip(fields.iter().enumerate()).map(field).collect() }
    }

    pub(crate) fn traced(&self) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(|field| field.role == Role::Traced)
    }
}

/// Everything wrong that was found so far, so that one compilation shows it all.
struct Errors(Option<Error>);

impl Errors {
    fn add(&mut self, error: Error) {
        match &mut self.0 {
            None => self.0 = Some(error),
            Some(errors) => errors.combine(error),
        }
    }
}

fn options(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("trace"))
}

/// Whether `#[trace(...)]` says the one option that there is.
fn says(option: &str, attributes: &[Attribute], errors: &mut Errors) -> bool {
    let mut is_said = false;
    for attribute in options(attributes) {
        let mut said = 0;
        let parsed = attribute.parse_nested_meta(|found| {
            said += 1;
            if !found.path.is_ident(option) {
                return Err(found.error(format_args!("unknown option: the only one here is `{option}`")));
            }
            match std::mem::replace(&mut is_said, true) {
                false => Ok(()),
                true => Err(found.error(format_args!("`{option}` is said twice"))),
            }
        });
        match parsed {
            Err(error) => errors.add(error),
            Ok(()) if said == 0 => {
                errors.add(Error::new_spanned(attribute, format_args!("expected `#[trace({option})]`")));
            }
            Ok(()) => {}
        }
    }
    is_said
}

fn refuse_options(attributes: &[Attribute], message: &str, errors: &mut Errors) {
    for attribute in options(attributes) {
        errors.add(Error::new_spanned(attribute, message));
    }
}

fn refuse_packed(attributes: &[Attribute], errors: &mut Errors) {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        // What is wrong with a `repr` otherwise is for the compiler to say.
        let _ = attribute.parse_nested_meta(|option| {
            if option.path.is_ident("packed") {
                errors
                    .add(option.error("`Trace` cannot be derived for a packed type: its fields cannot be referred to"));
            }
            if option.input.peek(syn::token::Paren) {
                let argument;
                syn::parenthesized!(argument in option.input);
                argument.parse::<TokenStream>()?;
            }
            Ok(())
        });
    }
}
