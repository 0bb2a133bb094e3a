//! What an implementation for a generic type asks of the type's parameters.

use proc_macro2::Ident;
use syn::visit::{self, Visit};
use syn::{Generics, Type, TypePath, parse_quote};

/// The type's own generics, and a where-clause under which all of `traced`, the types of fields, are `Trace` and the type
/// is `'static`.
///
/// Parameters are bounded, not the fields' types, although that would ask for less: the fields of a type that refers to
/// itself may need what is just being implemented, which has no end.
pub(crate) fn with_bounds<'a>(generics: &Generics, traced: impl Iterator<Item = &'a Type>) -> Generics {
    let parameters: Vec<&Ident> = generics.type_params().map(|parameter| &parameter.ident).collect();
    let mut bounded = generics.clone();
    if parameters.is_empty() {
        return bounded;
    }
    let mut mentions = Mentions { parameters: &parameters, alone: Vec::new(), associated: Vec::new() };
    for ty in traced {
        mentions.visit_type(ty);
    }
    let Mentions { alone, associated, .. } = mentions;
    let clause = bounded.make_where_clause();
    for parameter in parameters {
        clause.predicates.push(if alone.contains(&parameter) {
            parse_quote!(#parameter: ::mimalloc_runtime::Trace)
        } else {
            parse_quote!(#parameter: 'static)
        });
    }
    for ty in associated {
        clause.predicates.push(parse_quote!(#ty: ::mimalloc_runtime::Trace));
    }
    bounded
}

/// Types that are `Trace` whatever they are given, so that they ask for `'static` only. Known by name, as no derive can look
/// further; who has another type of that name, with a bound, repeats the bound on the type that derives.
const INDIFFERENT: [&str; 2] = ["Ref", "PhantomData"];

/// Where a type mentions the parameters.
struct Mentions<'p, 'ast> {
    parameters: &'p [&'p Ident],
    /// As themselves: `T`.
    alone: Vec<&'ast Ident>,
    /// As owners of associated types: `T::Item`, `<T as Iterator>::Item`.
    associated: Vec<&'ast TypePath>,
}

impl<'ast> Visit<'ast> for Mentions<'_, 'ast> {
    fn visit_type_path(&mut self, ty: &'ast TypePath) {
        if let Some(owner) = &ty.qself {
            let mut within = Mentions { parameters: self.parameters, alone: Vec::new(), associated: Vec::new() };
            within.visit_type(&owner.ty);
            within.visit_path(&ty.path);
            if !within.alone.is_empty() || !within.associated.is_empty() {
                self.associated.push(ty);
            }
            return;
        }
        let segments = &ty.path.segments;
        match segments.first().map(|first| &first.ident) {
            Some(first) if ty.path.leading_colon.is_none() && self.parameters.contains(&first) => {
                match segments.len() {
                    1 => self.alone.push(first),
                    _ => self.associated.push(ty),
                }
            }
            _ if segments.last().is_some_and(|last| INDIFFERENT.iter().any(|name| last.ident == name)) => {}
            _ => visit::visit_type_path(self, ty),
        }
    }
}
