//! The implementation.
//!
//! The obligations of `unsafe trait Trace` are discharged where they are met; the names of locals begin with two
//! underscores, since a constant of the user's with the name of a local would take its place in a pattern.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use crate::bounds;
use crate::input::{Field, Input, Role, Shape, Variant};

/// Everything that stands for `#[derive(Trace)]`.
pub(crate) fn implementation(input: &Input<'_>) -> TokenStream {
    let refuse_drop = refuse_drop(input);
    let skipped_guard = skipped_guard(input);
    let trace = trace(input);
    // In a block of its own, so that the names of what stands beside the implementation are nobody else's.
    quote! {
        const _: () = {
            #refuse_drop
            #skipped_guard
            #trace
        };
    }
}

fn trace(input: &Input<'_>) -> TokenStream {
    let name = input.name;
    let generics = bounds::with_bounds(input.generics, traced_types(input));
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let (_, ty_generics, _) = input.generics.split_for_impl();

    let slots = slots_of_all(input);
    let residue = input.fields().map(has_residue);
    let acyclic = if input.acyclic {
        quote!(true)
    } else {
        let types = traced_types(input);
        quote!(true #(&& <#types as ::mimalloc_runtime::Trace>::ACYCLIC)*)
    };
    let visits = input.variants().iter().map(|variant| {
        let pattern = pattern(variant, Bind::Traced);
        // Obligation 1: each field that is not skipped, once, in the order of declaration.
        let fields = variant.traced().map(|field| {
            let Field { ty, binding, .. } = field;
            quote!(<#ty as ::mimalloc_runtime::Trace>::trace(#binding, __tracer);)
        });
        let padding = padding(input, variant);
        quote!(#pattern => { #(#fields)* #padding })
    });
    let drops = input.variants().iter().map(|variant| {
        let pattern = pattern(variant, Bind::All);
        // Locals are dropped in reverse order, and all of them even if the drop of one panics. So the guards are made from
        // the last field to the first, and fields are dropped in the order in which Rust would drop them.
        let guards = variant.fields.iter().rev().map(guard);
        quote!(#pattern => { #(#guards)* })
    });
    // A reference to an enum without variants is not known to be impossible; the value behind it is.
    let place = if input.variants().is_empty() { quote!(*self) } else { quote!(self) };

    // SAFETY: 1, 2: see `visits`, `slots_of_all`, `padding`. 3: `drops` makes a guard of every field, whose residue is what
    // its own `Trace` does not report, or which is skipped and so dropped whole. 4: `has_residue`. 5: `visits` calls the
    // fields' `trace` and the tracer, nothing else.
    quote! {
        #[automatically_derived]
        unsafe impl #impl_generics ::mimalloc_runtime::Trace for #name #ty_generics #where_clause {
            const SLOTS: ::mimalloc_runtime::Slots = #slots;
            const RESIDUE: ::core::primitive::bool = false #(|| #residue)*;
            const ACYCLIC: ::core::primitive::bool = #acyclic;

            #[inline(always)]
            fn trace(&self, __tracer: &mut ::mimalloc_runtime::Tracer<'_>) {
                match #place { #(#visits)* }
            }

            unsafe fn drop_residue(&mut self) {
                match #place { #(#drops)* }
            }
        }
    }
}

fn traced_types<'a>(input: &'a Input<'_>) -> impl Iterator<Item = &'a syn::Type> {
    input.fields().filter(|field| field.role == Role::Traced).map(|field| field.ty)
}

/// The sum over the fields. One statement a field: an expression would nest as deep as there are fields.
fn slots_of_one(variant: &Variant<'_>) -> TokenStream {
    let types = variant.traced().map(|field| field.ty);
    quote! {{
        let __slots = ::mimalloc_runtime::Slots::Fixed(0);
        #(let __slots = ::mimalloc_runtime::Slots::and(__slots, <#types as ::mimalloc_runtime::Trace>::SLOTS);)*
        __slots
    }}
}

/// The largest variant's.
fn slots_of_all(input: &Input<'_>) -> TokenStream {
    match &input.shape {
        Shape::Struct(only) => slots_of_one(only),
        Shape::Enum(variants) => {
            let slots = variants.iter().map(slots_of_one);
            quote! {{
                let __most = ::mimalloc_runtime::Slots::Fixed(0);
                #(let __most = ::mimalloc_runtime::Slots::or(__most, #slots);)*
                __most
            }}
        }
    }
}

/// Obligation 2: what a variant lacks to the largest. Nothing if one of them varies, since then all may.
fn padding(input: &Input<'_>, variant: &Variant<'_>) -> TokenStream {
    if matches!(input.shape, Shape::Struct(_)) {
        return TokenStream::new();
    }
    let own = slots_of_one(variant);
    quote! {
        ::mimalloc_runtime::Tracer::empty(__tracer, const {
            match (<Self as ::mimalloc_runtime::Trace>::SLOTS, #own) {
                (::mimalloc_runtime::Slots::Fixed(__most), ::mimalloc_runtime::Slots::Fixed(__own)) => __most - __own,
                _ => 0,
            }
        });
    }
}

fn has_residue(field: &Field<'_>) -> TokenStream {
    let ty = field.ty;
    match field.role {
        Role::Traced => quote!(<#ty as ::mimalloc_runtime::Trace>::RESIDUE),
        Role::Skipped => quote!(::core::mem::needs_drop::<#ty>()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bind {
    Traced,
    All,
}

/// Names every field, so that a field which another macro has added since does not go unnoticed.
fn pattern(variant: &Variant<'_>, bind: Bind) -> TokenStream {
    let path = &variant.path;
    let fields = variant.fields.iter().map(|Field { member, binding, role, .. }| match (role, bind) {
        (Role::Skipped, Bind::Traced) => quote!(#member: _),
        (Role::Skipped, Bind::All) | (Role::Traced, _) => quote!(#member: #binding),
    });
    quote!(#path { #(#fields),* })
}

/// A local that drops what remains of a field when it goes out of scope.
fn guard(field: &Field<'_>) -> TokenStream {
    let Field { ty, binding, .. } = field;
    match field.role {
        // SAFETY: the obligation of `drop_residue`: the value, so the field too, is not used again.
        Role::Traced => quote_spanned! {ty.span().resolved_at(Span::mixed_site())=>
            let #binding = unsafe { ::mimalloc_runtime::Residue::new(#binding) };
        },
        Role::Skipped => quote!(let #binding = __Skipped(#binding);),
    }
}

/// What [`guard`] makes of a skipped field.
fn skipped_guard(input: &Input<'_>) -> TokenStream {
    if input.fields().all(|field| field.role == Role::Traced) {
        return TokenStream::new();
    }
    // SAFETY: made by `drop_residue` alone, whose value is not used again, and dropped once.
    quote! {
        struct __Skipped<'__field, __T>(&'__field mut __T);

        #[automatically_derived]
        impl<__T> ::core::ops::Drop for __Skipped<'_, __T> {
            fn drop(&mut self) {
                unsafe { ::core::ptr::drop_in_place(&raw mut *self.0) }
            }
        }
    }
}

/// A trait that the type has, and that types with `Drop` have too: with `Drop`, the type would have it twice.
fn refuse_drop(input: &Input<'_>) -> TokenStream {
    let name = input.name;
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    quote_spanned! {name.span().resolved_at(Span::mixed_site())=>
        trait TypesThatDeriveTraceMustNotImplementDrop {}

        #[automatically_derived]
        impl<__T: ::core::ops::Drop + ?::core::marker::Sized> TypesThatDeriveTraceMustNotImplementDrop for __T {}

        #[automatically_derived]
        impl #impl_generics TypesThatDeriveTraceMustNotImplementDrop for #name #ty_generics #where_clause {}
    }
}
