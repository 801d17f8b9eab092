//! Texts that many objects have in common, kept once, and which object is which.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use kube::core::ObjectMeta;

/// Texts, each kept for as long as somebody has it, and a little longer.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: HashSet<Rc<str>>,
    /// How many there may be before those that nobody has are looked for.
    tidy_at: usize,
}

impl Texts {
    /// The one text that is equal to this one.
    pub(super) fn get(&mut self, text: &str) -> Rc<str> {
        if let Some(known) = self.known.get(text) {
            return Rc::clone(known);
        }
        if self.known.len() >= self.tidy_at {
            self.tidy();
        }
        let new: Rc<str> = Rc::from(text);
        self.known.insert(Rc::clone(&new));
        new
    }

    /// Forgets those that nobody has; not looked for again before there are twice as many.
    fn tidy(&mut self) {
        self.known.retain(|text| Rc::strong_count(text) > 1);
        self.tidy_at = (self.known.len() * 2).max(64);
    }
}

/// An object's `uid`, in a quarter of the space. One that is no UUID, as no API server makes them, is hashed.
pub(super) fn uid(metadata: &ObjectMeta) -> u128 {
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let digits = uid.bytes().filter(|byte| *byte != b'-');
    let number = digits.clone().try_fold(0_u128, |number, byte| {
        let digit = char::from(byte).to_digit(16)?;
        Some(number << 4 | u128::from(digit))
    });
    match number {
        Some(number) if digits.count() == 32 => number,
        _ => hashed(metadata),
    }
}

fn hashed(metadata: &ObjectMeta) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &metadata.uid, &metadata.namespace, &metadata.name).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_forgotten_when_nobody_has_them() {
        let mut texts = Texts::default();
        let kept = texts.get("default");
        assert!(Rc::ptr_eq(&kept, &texts.get("default")));
        for n in 0..10_000 {
            texts.get(&n.to_string());
        }
        assert!(texts.known.len() <= 65, "{}", texts.known.len());
        assert!(Rc::ptr_eq(&kept, &texts.get("default")));
    }

    #[test]
    fn uids_are_numbers_whatever_they_look_like() {
        let of = |uid: &str| {
            super::uid(&ObjectMeta {
                uid: Some(uid.to_owned()),
                ..ObjectMeta::default()
            })
        };
        assert_eq!(
            of("8f6f8c1e-0000-4000-8000-00000000000a"),
            0x8f6f_8c1e_0000_4000_8000_0000_0000_000a
        );
        assert_ne!(of("a"), of("b"));
        assert_ne!(of(""), of("a"));
        assert_ne!(of("ffffffff-ffff-ffff-ffff-fffffffffffff"), u128::MAX);
    }
}
