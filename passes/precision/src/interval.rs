//! Arithmetic on ranges of numbers.

/// A closed interval that holds each element of a tensor. Its ends are finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    pub(crate) lo: f64,
    pub(crate) hi: f64,
    /// Values near both ends do come up as far as is known. Bounds of long sums of products are not
    /// tight: their terms would all have to agree in sign.
    pub(crate) tight: bool,
}

impl Interval {
    /// From `lo` to `hi`; nothing if an end is not finite.
    pub(crate) fn new(lo: f64, hi: f64) -> Option<Self> {
        (lo.is_finite() && hi.is_finite() && lo <= hi).then_some(Self { lo, hi, tight: true })
    }

    /// The greatest magnitude.
    pub(crate) fn reach(self) -> f64 {
        self.lo.abs().max(self.hi.abs())
    }

    /// The least magnitude.
    pub(crate) fn least(self) -> f64 {
        if self.lo <= 0.0 && self.hi >= 0.0 { 0.0 } else { self.lo.abs().min(self.hi.abs()) }
    }

    /// The bounds under `f`, which only grows or only falls.
    pub(crate) fn monotone(self, f: impl Fn(f64) -> f64) -> Option<Self> {
        let (a, b) = (f(self.lo), f(self.hi));
        Some(Self { tight: self.tight, ..Self::new(a.min(b), a.max(b))? })
    }

    /// The bounds under `f`, which falls until 0 and grows from there.
    pub(crate) fn even(self, f: impl Fn(f64) -> f64) -> Option<Self> {
        let (a, b) = (f(self.least()), f(self.reach()));
        Some(Self { tight: self.tight, ..Self::new(a, b)? })
    }

    /// The bounds of all results of `f`, which is monotone in each argument alone.
    pub(crate) fn corners(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Option<Self> {
        let all = [
            f(self.lo, other.lo),
            f(self.lo, other.hi),
            f(self.hi, other.lo),
            f(self.hi, other.hi),
        ];
        let lo = all.iter().copied().fold(f64::INFINITY, f64::min);
        let hi = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let tight = self.tight && other.tight;
        if all.iter().any(|x| x.is_nan()) {
            return None;
        }
        Some(Self { tight, ..Self::new(lo, hi)? })
    }

    /// What holds the elements of both.
    pub(crate) fn union(self, other: Self) -> Self {
        Self {
            lo: self.lo.min(other.lo),
            hi: self.hi.max(other.hi),
            tight: self.tight && other.tight,
        }
    }

    /// Sums of `count` elements.
    pub(crate) fn times(self, count: f64) -> Option<Self> {
        self.monotone(|x| x * count)
    }

    /// The part within `lo..=hi`, or the nearer end if there is none.
    pub(crate) fn clamp(self, lo: f64, hi: f64) -> Option<Self> {
        if lo > hi || lo.is_nan() || hi.is_nan() {
            return None;
        }
        self.monotone(|x| x.clamp(lo, hi))
    }

    pub(crate) fn loose(self) -> Self {
        Self { tight: false, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn i(lo: f64, hi: f64) -> Interval {
        Interval::new(lo, hi).unwrap()
    }

    #[test]
    fn corners_and_even_functions() {
        assert_eq!(i(-2.0, 3.0).corners(i(-1.0, 4.0), |a, b| a * b), Some(i(-8.0, 12.0)));
        assert_eq!(i(-2.0, 1.0).even(|x| x * x), Some(i(0.0, 4.0)));
        assert_eq!(i(2.0, 3.0).even(|x| x * x), Some(i(4.0, 9.0)));
        assert_eq!(i(1.0, 2.0).corners(i(0.0, 1.0), |a, b| a / b), None);
        assert_eq!(i(-9.0, 9.0).clamp(0.0, 6.0), Some(i(0.0, 6.0)));
        assert!(Interval::new(0.0, f64::INFINITY).is_none());
        assert!(!i(0.0, 1.0).loose().union(i(0.0, 2.0)).tight);
    }
}
