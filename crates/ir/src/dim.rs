//! Extents: constants or canonical integer expressions over symbols with ranges.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// What a symbol can be: inclusive bounds; `max` `None` is unbounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SymbolRange {
    /// Least value.
    pub min: i64,
    /// Greatest value.
    pub max: Option<i64>,
}

/// The symbols of a program and their ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Symbols {
    ranges: BTreeMap<Arc<str>, SymbolRange>,
    fresh: BTreeSet<Arc<str>>,
    next: u32,
}

impl Symbols {
    /// Declares a symbol, replacing an older range.
    pub fn declare(&mut self, name: &str, range: SymbolRange) {
        self.ranges.insert(name.into(), range);
    }

    /// A new symbol `u<n>` for an extent that only running the program tells.
    pub fn fresh(&mut self) -> Dim {
        loop {
            let name = format!("u{}", self.next);
            self.next += 1;
            if !self.ranges.contains_key(name.as_str()) {
                self.declare(&name, SymbolRange::default());
                self.fresh.insert(name.as_str().into());
                return Dim::symbol(&name);
            }
        }
    }

    /// The range of a symbol; any non-negative value for unknown ones.
    #[must_use]
    pub fn range(&self, name: &str) -> SymbolRange {
        self.ranges.get(name).copied().unwrap_or_default()
    }

    /// All symbols in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, SymbolRange)> {
        self.ranges.iter().map(|(name, range)| (&**name, *range))
    }

    /// Whether the symbol stands for an extent that inference could not tell.
    #[must_use]
    pub fn is_fresh(&self, name: &str) -> bool {
        self.fresh.contains(name)
    }

    /// Whether the symbol is declared.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.ranges.contains_key(name)
    }

    /// Inclusive bounds of `dim`, from the ranges of its symbols by interval arithmetic. Either
    /// side is `None` where nothing is known.
    #[must_use]
    pub fn bounds(&self, dim: &Dim) -> (Option<i64>, Option<i64>) {
        match dim {
            Dim::Const(n) => (Some(*n), Some(*n)),
            Dim::Unknown => (Some(0), None),
            Dim::Poly(poly) => {
                let mut low = Some(0i64);
                let mut high = Some(0i64);
                for (monomial, &coefficient) in &poly.terms {
                    let (mut l, mut h) = (Some(1i64), Some(1i64));
                    for (atom, power) in monomial {
                        let (al, ah) = self.atom_bounds(atom);
                        for _ in 0..*power {
                            (l, h) = interval_mul((l, h), (al, ah));
                        }
                    }
                    let term = interval_mul((l, h), (Some(coefficient), Some(coefficient)));
                    low = low.zip(term.0).and_then(|(a, b)| a.checked_add(b));
                    high = high.zip(term.1).and_then(|(a, b)| a.checked_add(b));
                }
                (low, high)
            }
        }
    }

    fn atom_bounds(&self, atom: &Atom) -> (Option<i64>, Option<i64>) {
        match atom {
            Atom::Symbol(name) => {
                let range = self.range(name);
                (Some(range.min), range.max)
            }
            Atom::FloorDiv(a, b) => {
                let ((al, ah), (bl, bh)) = (self.bounds(a), self.bounds(b));
                match (al, bl) {
                    (Some(al), Some(bl)) if al >= 0 && bl > 0 => {
                        (Some(bh.map_or(0, |bh| al / bh)), ah.map(|ah| ah / bl))
                    }
                    _ => (None, None),
                }
            }
            Atom::Mod(_, b) => match self.bounds(b) {
                (Some(bl), bh) if bl > 0 => (Some(0), bh.map(|bh| bh - 1)),
                _ => (None, None),
            },
            Atom::Max(a, b) => {
                let ((al, ah), (bl, bh)) = (self.bounds(a), self.bounds(b));
                (al.max(bl), ah.zip(bh).map(|(a, b)| a.max(b)))
            }
            Atom::Min(a, b) => {
                let ((al, ah), (bl, bh)) = (self.bounds(a), self.bounds(b));
                let high = match (ah, bh) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (one, other) => one.or(other),
                };
                (al.zip(bl).map(|(a, b)| a.min(b)), high)
            }
        }
    }
}

fn interval_mul(
    (al, ah): (Option<i64>, Option<i64>),
    (bl, bh): (Option<i64>, Option<i64>),
) -> (Option<i64>, Option<i64>) {
    match (al, ah, bl, bh) {
        (Some(al), Some(ah), Some(bl), Some(bh)) => {
            let all = [(al, bl), (al, bh), (ah, bl), (ah, bh)].map(|(a, b)| a.checked_mul(b));
            if all.contains(&None) {
                return (None, None);
            }
            (all.iter().flatten().min().copied(), all.iter().flatten().max().copied())
        }
        (Some(al), _, Some(bl), _) if al >= 0 && bl >= 0 => (al.checked_mul(bl), None),
        (Some(al), _, Some(_), Some(bh)) if al >= 0 && bh <= 0 => (None, al.checked_mul(bh)),
        _ => (None, None),
    }
}

/// An extent. Equal extents compare equal: expressions are kept in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dim {
    /// A number. Contents of shape vectors may be negative.
    Const(i64),
    /// A polynomial over symbols that is not a number.
    Poly(Arc<Poly>),
    /// Only running the program tells. Inference may give it; values of a program never have it
    /// (each gets a fresh symbol).
    Unknown,
}

/// What evaluates extents: numbers, or values of a program under construction.
pub trait Algebra {
    /// What an extent becomes.
    type Value;
    /// Why that can fail.
    type Error;

    /// A number.
    ///
    /// # Errors
    /// The implementor's.
    fn constant(&mut self, n: i64) -> Result<Self::Value, Self::Error>;

    /// A symbol.
    ///
    /// # Errors
    /// The implementor's.
    fn symbol(&mut self, name: &str) -> Result<Self::Value, Self::Error>;

    /// An operation on two values.
    ///
    /// # Errors
    /// The implementor's.
    fn apply(
        &mut self,
        op: DimOp,
        a: Self::Value,
        b: Self::Value,
    ) -> Result<Self::Value, Self::Error>;

    /// An extent that nothing is known of.
    ///
    /// # Errors
    /// The implementor's.
    fn unknown(&mut self) -> Result<Self::Value, Self::Error>;
}

/// The operations extents are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DimOp {
    /// `a + b`
    Add,
    /// `a · b`
    Mul,
    /// `⌊a / b⌋`
    FloorDiv,
    /// `a mod b`, with the sign of `b`
    Mod,
    /// The greater.
    Max,
    /// The lesser.
    Min,
}

/// A sum of products of atoms with integer coefficients, in canonical order without zeros.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Poly {
    terms: BTreeMap<Vec<(Atom, u32)>, i64>,
}

/// What a polynomial is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Atom {
    Symbol(Arc<str>),
    FloorDiv(Dim, Dim),
    Mod(Dim, Dim),
    Max(Dim, Dim),
    Min(Dim, Dim),
}

impl From<i64> for Dim {
    fn from(n: i64) -> Self {
        Self::Const(n)
    }
}

impl From<u64> for Dim {
    fn from(n: u64) -> Self {
        i64::try_from(n).map_or(Self::Unknown, Self::Const)
    }
}

impl From<i32> for Dim {
    fn from(n: i32) -> Self {
        Self::Const(i64::from(n))
    }
}

impl Dim {
    /// The symbol of that name.
    #[must_use]
    pub fn symbol(name: &str) -> Self {
        Self::atom(Atom::Symbol(name.into()))
    }

    fn atom(atom: Atom) -> Self {
        Self::Poly(Arc::new(Poly { terms: BTreeMap::from([(vec![(atom, 1)], 1)]) }))
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_const(&self) -> Option<i64> {
        match self {
            Self::Const(n) => Some(*n),
            _ => None,
        }
    }

    /// Whether it is the number `n`.
    #[must_use]
    pub fn is(&self, n: i64) -> bool {
        self.as_const() == Some(n)
    }

    /// The name, if it is one symbol alone.
    #[must_use]
    pub fn as_symbol(&self) -> Option<&str> {
        let Self::Poly(poly) = self else { return None };
        let mut terms = poly.terms.iter();
        match (terms.next(), terms.next()) {
            (Some((monomial, 1)), None) => match &monomial[..] {
                [(Atom::Symbol(name), 1)] => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// `symbol`, `factor` and `offset` where it is `factor · symbol + offset`; the factor is not 0.
    #[must_use]
    pub fn linear(&self) -> Option<(String, i64, i64)> {
        let mut symbol = None;
        self.for_each_symbol(&mut |name| symbol = Some(name.to_owned()));
        let symbol = symbol?;
        let at =
            |n: i64| self.substitute(&|name| (name == symbol).then_some(Self::Const(n))).as_const();
        let offset = at(0)?;
        let factor = at(1)?.checked_sub(offset).filter(|&factor| factor != 0)?;
        let again = Self::symbol(&symbol).mul(&Self::Const(factor)).add(&Self::Const(offset));
        (again == *self).then_some((symbol, factor, offset))
    }

    fn terms(&self) -> Option<BTreeMap<Vec<(Atom, u32)>, i64>> {
        match self {
            Self::Const(0) => Some(BTreeMap::new()),
            Self::Const(n) => Some(BTreeMap::from([(Vec::new(), *n)])),
            Self::Poly(poly) => Some(poly.terms.clone()),
            Self::Unknown => None,
        }
    }

    fn from_terms(mut terms: BTreeMap<Vec<(Atom, u32)>, i64>) -> Self {
        terms.retain(|_, c| *c != 0);
        match terms.len() {
            0 => Self::Const(0),
            1 if terms.contains_key(&Vec::new()) => Self::Const(terms[&Vec::new()]),
            _ => Self::Poly(Arc::new(Poly { terms })),
        }
    }

    /// `self + other`; unknown on overflow.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        if let (Self::Const(a), Self::Const(b)) = (self, other) {
            return a.checked_add(*b).map_or(Self::Unknown, Self::Const);
        }
        let (Some(mut terms), Some(more)) = (self.terms(), other.terms()) else {
            return Self::Unknown;
        };
        for (monomial, c) in more {
            let sum = terms.entry(monomial).or_insert(0);
            let Some(added) = sum.checked_add(c) else { return Self::Unknown };
            *sum = added;
        }
        Self::from_terms(terms)
    }

    /// `self - other`; unknown on overflow.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        self.add(&other.mul(&Self::Const(-1)))
    }

    /// `self · other`; unknown on overflow.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        if let (Self::Const(a), Self::Const(b)) = (self, other) {
            return a.checked_mul(*b).map_or(Self::Unknown, Self::Const);
        }
        if self.is(0) || other.is(0) {
            return Self::Const(0);
        }
        let (Some(left), Some(right)) = (self.terms(), other.terms()) else {
            return Self::Unknown;
        };
        if left.len().saturating_mul(right.len()) > 256 {
            return Self::Unknown;
        }
        let mut terms = BTreeMap::new();
        for (m, c) in &left {
            for (n, d) in &right {
                let Some(product) = c.checked_mul(*d) else { return Self::Unknown };
                let sum = terms.entry(join(m, n)).or_insert(0i64);
                let Some(added) = sum.checked_add(product) else { return Self::Unknown };
                *sum = added;
            }
        }
        Self::from_terms(terms)
    }

    /// `⌊self / other⌋`; unknown for a zero divisor.
    #[must_use]
    pub fn floor_div(&self, other: &Self) -> Self {
        match (self, other) {
            (_, Self::Const(0)) | (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (_, Self::Const(1)) => self.clone(),
            (Self::Const(a), Self::Const(b)) => {
                let (Some(q), Some(r)) = (a.checked_div(*b), a.checked_rem(*b)) else {
                    return Self::Unknown;
                };
                Self::Const(if r != 0 && (r < 0) != (*b < 0) { q - 1 } else { q })
            }
            _ => {
                if let Some(quotient) = self.exact_div(other) {
                    return quotient;
                }
                let (whole, rest) = self.divided(other);
                match rest {
                    // The rest lies in `0..other`.
                    Self::Const(_) => whole,
                    rest => whole.add(&Self::atom(Atom::FloorDiv(rest, other.clone()))),
                }
            }
        }
    }

    /// `(q, r)` with `self = q·other + r`. Of a number above 0, the terms that it divides make up `q`, and
    /// the constant term of `r` lies in `0..other`; otherwise `q` is 0.
    fn divided(&self, other: &Self) -> (Self, Self) {
        let (Self::Const(by @ 1..), Some(terms)) = (other, self.terms()) else {
            return (Self::Const(0), self.clone());
        };
        let (mut quotient, mut rest) = (BTreeMap::new(), BTreeMap::new());
        for (monomial, coefficient) in terms {
            if monomial.is_empty() {
                quotient.insert(monomial.clone(), coefficient.div_euclid(*by));
                rest.insert(monomial, coefficient.rem_euclid(*by));
            } else if coefficient % by == 0 {
                quotient.insert(monomial, coefficient / by);
            } else {
                rest.insert(monomial, coefficient);
            }
        }
        (Self::from_terms(quotient), Self::from_terms(rest))
    }

    /// `⌈self / other⌉`.
    #[must_use]
    pub fn ceil_div(&self, other: &Self) -> Self {
        let negative = self.mul(&Self::Const(-1)).floor_div(other);
        negative.mul(&Self::Const(-1))
    }

    /// The quotient if every term divides by `other` (a number or a single term).
    #[must_use]
    pub fn exact_div(&self, other: &Self) -> Option<Self> {
        if self == other {
            return Some(Self::Const(1));
        }
        let divisor = other.terms()?;
        if divisor.len() != 1 {
            return None;
        }
        let (by, c) = divisor.into_iter().next()?;
        let mut terms = BTreeMap::new();
        for (monomial, d) in self.terms()? {
            if d.checked_rem(c)? != 0 {
                return None;
            }
            let mut left: BTreeMap<Atom, u32> = monomial.into_iter().collect();
            for (atom, power) in &by {
                let have = left.get_mut(atom)?;
                *have = have.checked_sub(*power)?;
            }
            left.retain(|_, power| *power > 0);
            terms.insert(left.into_iter().collect(), d / c);
        }
        Some(Self::from_terms(terms))
    }

    /// `self mod other`, with the sign of `other`; unknown for a zero divisor.
    #[must_use]
    pub fn modulo(&self, other: &Self) -> Self {
        match (self, other) {
            (_, Self::Const(0)) | (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Const(_), Self::Const(_)) => self.sub(&self.floor_div(other).mul(other)),
            _ if self.exact_div(other).is_some() => Self::Const(0),
            _ => Self::atom(Atom::Mod(self.clone(), other.clone())),
        }
    }

    /// The greater of two.
    #[must_use]
    pub fn maximum(&self, other: &Self) -> Self {
        self.pick(other, i64::max, Atom::Max)
    }

    /// The lesser of two.
    #[must_use]
    pub fn minimum(&self, other: &Self) -> Self {
        self.pick(other, i64::min, Atom::Min)
    }

    fn pick(&self, other: &Self, of: fn(i64, i64) -> i64, atom: fn(Self, Self) -> Atom) -> Self {
        match (self, other) {
            (Self::Const(a), Self::Const(b)) => Self::Const(of(*a, *b)),
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            _ => {
                if let Self::Const(gap) = self.sub(other) {
                    return if of(gap, 0) == gap { self.clone() } else { other.clone() };
                }
                let (a, b) = if self <= other { (self, other) } else { (other, self) };
                Self::atom(atom(a.clone(), b.clone()))
            }
        }
    }

    /// The product of many; 1 for none.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Self>) -> Self {
        dims.into_iter().fold(Self::Const(1), |product, dim| product.mul(dim))
    }

    /// Extents as the operand of a reshape, −1 for an open one; `None` where several are open, or one is 0,
    /// which would copy an extent.
    #[must_use]
    pub fn reshape_sizes(dims: &[Self]) -> Option<Vec<i64>> {
        let open = dims.iter().filter(|dim| dim.as_const().is_none()).count();
        let fits = open <= 1 && !dims.iter().any(|dim| dim.is(0));
        fits.then(|| dims.iter().map(|dim| dim.as_const().unwrap_or(-1)).collect())
    }

    /// The value with symbols replaced by what `value` gives; a symbol without value stays.
    #[must_use]
    pub fn substitute(&self, value: &dyn Fn(&str) -> Option<Self>) -> Self {
        let Self::Poly(poly) = self else { return self.clone() };
        let mut sum = Self::Const(0);
        for (monomial, c) in &poly.terms {
            let mut term = Self::Const(*c);
            for (atom, power) in monomial {
                let one = match atom {
                    Atom::Symbol(name) => value(name).unwrap_or_else(|| Self::atom(atom.clone())),
                    Atom::FloorDiv(a, b) => a.substitute(value).floor_div(&b.substitute(value)),
                    Atom::Mod(a, b) => a.substitute(value).modulo(&b.substitute(value)),
                    Atom::Max(a, b) => a.substitute(value).maximum(&b.substitute(value)),
                    Atom::Min(a, b) => a.substitute(value).minimum(&b.substitute(value)),
                };
                for _ in 0..*power {
                    term = term.mul(&one);
                }
            }
            sum = sum.add(&term);
        }
        sum
    }

    /// Evaluates it with `algebra`.
    ///
    /// # Errors
    /// What `algebra` gives.
    pub fn evaluate<A: Algebra>(&self, algebra: &mut A) -> Result<A::Value, A::Error> {
        let poly = match self {
            Self::Const(n) => return algebra.constant(*n),
            Self::Unknown => return algebra.unknown(),
            Self::Poly(poly) => poly,
        };
        let mut sum = None;
        for (monomial, &c) in poly.terms.iter().rev() {
            let mut product = None;
            for (atom, power) in monomial {
                for _ in 0..*power {
                    let factor = atom.evaluate(algebra)?;
                    product = Some(match product {
                        None => factor,
                        Some(product) => algebra.apply(DimOp::Mul, product, factor)?,
                    });
                }
            }
            let term = match product {
                None => algebra.constant(c)?,
                Some(product) if c == 1 => product,
                Some(product) => {
                    let c = algebra.constant(c)?;
                    algebra.apply(DimOp::Mul, product, c)?
                }
            };
            sum = Some(match sum {
                None => term,
                Some(sum) => algebra.apply(DimOp::Add, sum, term)?,
            });
        }
        sum.map_or_else(|| algebra.constant(0), Ok)
    }

    /// Calls `visit` with the name of each symbol in it.
    pub fn for_each_symbol(&self, visit: &mut dyn FnMut(&str)) {
        let Self::Poly(poly) = self else { return };
        for (atom, _) in poly.terms.keys().flatten() {
            match atom {
                Atom::Symbol(name) => visit(name),
                Atom::FloorDiv(a, b) | Atom::Mod(a, b) | Atom::Max(a, b) | Atom::Min(a, b) => {
                    a.for_each_symbol(visit);
                    b.for_each_symbol(visit);
                }
            }
        }
    }
}

fn join(m: &[(Atom, u32)], n: &[(Atom, u32)]) -> Vec<(Atom, u32)> {
    let mut powers: BTreeMap<Atom, u32> = m.iter().cloned().collect();
    for (atom, power) in n {
        *powers.entry(atom.clone()).or_insert(0) += power;
    }
    powers.into_iter().collect()
}

impl Atom {
    fn evaluate<A: Algebra>(&self, algebra: &mut A) -> Result<A::Value, A::Error> {
        let (op, a, b) = match self {
            Self::Symbol(name) => return algebra.symbol(name),
            Self::FloorDiv(a, b) => (DimOp::FloorDiv, a, b),
            Self::Mod(a, b) => (DimOp::Mod, a, b),
            Self::Max(a, b) => (DimOp::Max, a, b),
            Self::Min(a, b) => (DimOp::Min, a, b),
        };
        let (a, b) = (a.evaluate(algebra)?, b.evaluate(algebra)?);
        algebra.apply(op, a, b)
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(name) => f.write_str(name),
            Self::FloorDiv(a, b) => write!(f, "floordiv({a}, {b})"),
            Self::Mod(a, b) => write!(f, "mod({a}, {b})"),
            Self::Max(a, b) => write!(f, "max({a}, {b})"),
            Self::Min(a, b) => write!(f, "min({a}, {b})"),
        }
    }
}

impl fmt::Display for Dim {
    /// A sum such as `2*s0+floordiv(s1, 2)-1`; `?` for unknown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let poly = match self {
            Self::Const(n) => return write!(f, "{n}"),
            Self::Unknown => return f.write_str("?"),
            Self::Poly(poly) => poly,
        };
        for (i, (monomial, c)) in poly.terms.iter().rev().enumerate() {
            if i > 0 && *c >= 0 {
                f.write_str("+")?;
            }
            let mut factors: Vec<String> = monomial
                .iter()
                .flat_map(|(atom, power)| std::iter::repeat_n(atom.to_string(), *power as usize))
                .collect();
            match (c, factors.is_empty()) {
                (1, false) => {}
                (-1, false) => f.write_str("-")?,
                _ => factors.insert(0, c.to_string()),
            }
            f.write_str(&factors.join("*"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn s(name: &str) -> Dim {
        Dim::symbol(name)
    }

    #[test]
    fn expressions_are_canonical() {
        let a = s("a").add(&s("b")).mul(&Dim::Const(2));
        let b = s("b").mul(&Dim::Const(2)).add(&s("a")).add(&s("a"));
        assert_eq!(a, b);
        assert_eq!(a.sub(&b), Dim::Const(0));
        assert_eq!(a.to_string(), "2*b+2*a");
        assert_eq!(a.floor_div(&Dim::Const(2)), s("a").add(&s("b")));
        assert_eq!(s("a").mul(&s("b")).floor_div(&s("b")), s("a"));
        assert_eq!(s("a").add(&Dim::Const(1)).maximum(&s("a")), s("a").add(&Dim::Const(1)));
    }

    #[test]
    fn linear_extents_tell_their_symbol() {
        let three = s("s").mul(&Dim::Const(3));
        assert_eq!(s("s").linear(), Some(("s".to_owned(), 1, 0)));
        assert_eq!(three.sub(&Dim::Const(2)).linear(), Some(("s".to_owned(), 3, -2)));
        assert_eq!(three.floor_div(&Dim::Const(2)).linear(), None);
        assert_eq!(s("s").mul(&s("s")).linear(), None);
        assert_eq!(s("s").add(&s("t")).linear(), None);
        assert_eq!(Dim::Const(4).linear(), None);
    }

    #[test]
    fn bounds_follow_ranges() {
        let mut symbols = Symbols::default();
        symbols.declare("a", SymbolRange { min: 2, max: Some(16) });
        let dim = s("a").mul(&Dim::Const(4)).sub(&Dim::Const(1));
        assert_eq!(symbols.bounds(&dim), (Some(7), Some(63)));
        assert_eq!(symbols.bounds(&dim.floor_div(&Dim::Const(2))), (Some(3), Some(31)));
    }

    proptest! {
        #[test]
        fn arithmetic_agrees_with_integers(x in -50i64..50, y in 1i64..50, k in -5i64..6) {
            let at = |name: &str| Some(Dim::Const(if name == "x" { x } else { y }));
            let (sx, sy) = (s("x"), s("y"));
            let e = sx.mul(&sy).add(&sx.mul(&Dim::Const(k))).sub(&sy);
            prop_assert_eq!(e.substitute(&at), Dim::Const(x * y + k * x - y));
            prop_assert_eq!(sx.floor_div(&sy).substitute(&at), Dim::Const(x.div_euclid(y)));
            prop_assert_eq!(sx.modulo(&sy).substitute(&at), Dim::Const(x.rem_euclid(y)));
            prop_assert_eq!(sx.ceil_div(&sy).substitute(&at), Dim::Const((x + y - 1).div_euclid(y)));
            prop_assert_eq!(e.maximum(&sy).substitute(&at), Dim::Const((x * y + k * x - y).max(y)));
        }
    }
}
