//! Properties, classes and inheritance.

use mimalloc_runtime::Ref;

use super::call::undefined_property;
use super::state::State;
use crate::error::RuntimeError;
use crate::object::{BoundMethod, Caught, Class, Hint, Instance, List, Map, NativeClass, WeakRef};
use crate::value::Value;

impl State {
    /// The class of a value that has one but is not an instance.
    pub(super) fn native_class_of(&self, value: &Value) -> Option<&Ref<NativeClass>> {
        let object = value.as_object()?;
        if Ref::is::<List>(object) {
            Some(&self.lists)
        } else if Ref::is::<Map>(object) {
            Some(&self.maps)
        } else if Ref::is::<Caught>(object) {
            Some(&self.errors)
        } else if Ref::is::<WeakRef>(object) {
            Some(&self.weak_references)
        } else {
            None
        }
    }

    /// `[receiver] -> [field or bound method]`
    #[inline(always)]
    pub(super) fn get_property(&mut self, name: &Value, hint: &Hint) -> Result<(), RuntimeError> {
        if let Some(instance) = self.stack.last().as_ref::<Instance>() {
            let field = instance.fields().borrow().get_hinted(name, hint).cloned();
            if let Some(field) = field {
                self.stack.replace_last(field);
                return Ok(());
            }
        }
        self.get_method(name, hint)
    }

    #[inline(never)]
    fn get_method(&mut self, name: &Value, hint: &Hint) -> Result<(), RuntimeError> {
        let receiver = self.stack.last();
        if let Some(instance) = receiver.as_ref::<Instance>() {
            let class = instance.class().clone();
            return self.bind(&class, name, hint);
        }
        let method = self.native_class_of(receiver).and_then(|class| class.methods().get_hinted(name, hint));
        match method.cloned() {
            Some(method) => self.bind_method(method),
            None => Err(RuntimeError::new("Only instances have properties.")),
        }
    }

    /// `[receiver] -> [bound method]`, a method of the class.
    pub(super) fn bind(&mut self, class: &Ref<Class>, name: &Value, hint: &Hint) -> Result<(), RuntimeError> {
        let method = class.methods().borrow().get_hinted(name, hint).cloned();
        self.bind_method(method.ok_or_else(|| undefined_property(name))?)
    }

    fn bind_method(&mut self, method: Value) -> Result<(), RuntimeError> {
        let bound = self.heap.mutator().alloc(BoundMethod::new(self.stack.last().clone(), method))?;
        self.stack.replace_last(bound.into());
        Ok(())
    }

    /// `[instance, value] -> [value]`
    #[inline(always)]
    pub(super) fn set_property(&mut self, name: &Value, hint: &Hint) -> Result<(), RuntimeError> {
        let (receiver, value) = self.stack.operands();
        let Some(instance) = receiver.as_ref::<Instance>() else {
            return Err(RuntimeError::new(match self.native_class_of(receiver) {
                Some(_) => "Only instances have properties.",
                None => "Only instances have fields.",
            }));
        };
        let mut fields = instance.fields().borrow_mut();
        match fields.get_mut_hinted(name, hint) {
            Some(field) => *field = value.clone(),
            None => fields.set(self.heap.mutator(), name.clone(), value.clone())?,
        }
        drop(fields);
        let value = self.stack.pop();
        self.stack.replace_last(value);
        Ok(())
    }

    /// `[] -> [class]`
    pub(super) fn new_class(&mut self, name: &Value) -> Result<(), RuntimeError> {
        let name = name.as_text().expect("the name of a class is a string").clone();
        let class = self.heap.mutator().alloc(Class::new(name))?;
        self.stack.push(class.into());
        Ok(())
    }

    /// `[superclass, class] -> [superclass]`, after copying down all methods.
    pub(super) fn inherit(&mut self) -> Result<(), RuntimeError> {
        let (superclass, class) = self.stack.operands();
        let Some(superclass) = superclass.as_ref::<Class>() else {
            return Err(RuntimeError::new(match superclass.as_ref::<NativeClass>() {
                Some(_) => "Can't inherit from a native class.",
                None => "Superclass must be a class.",
            }));
        };
        let class = class.as_ref::<Class>().expect("what inherits was just made");
        let inherited = superclass.methods().borrow();
        self.heap.work(inherited.bytes())?;
        let mut methods = class.methods().borrow_mut();
        for (name, method) in inherited.entries() {
            methods.set(self.heap.mutator(), name.clone(), method.clone())?;
        }
        drop((methods, inherited));
        self.stack.pop();
        Ok(())
    }

    /// `[class, closure] -> [class]`
    pub(super) fn add_method(&mut self, name: &Value) -> Result<(), RuntimeError> {
        let (class, method) = self.stack.operands();
        let class = class.as_ref::<Class>().expect("what gets a method was just made");
        class.methods().borrow_mut().set(self.heap.mutator(), name.clone(), method.clone())?;
        self.stack.pop();
        Ok(())
    }

    /// Takes the superclass from the top, where the code of a method with `super` has put it.
    #[inline(always)]
    pub(super) fn pop_superclass(&mut self) -> Ref<Class> {
        let superclass = self.stack.pop();
        superclass.as_ref::<Class>().expect("the superclass was one when it was inherited from").clone()
    }
}
