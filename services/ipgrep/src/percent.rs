//! Percentages as C prints them (PRISEM services specification, 7.5 and 8.2).

/// 100 n / total as an IEEE double, multiplied first, with a fixed number of decimals; ties go to even on the exact
/// value of the double. With a total of zero every percentage is zero.
#[must_use]
#[allow(clippy::cast_precision_loss)] // counts above 2^53 lose digits, as they do in C
pub fn percent(n: u64, total: u64, decimals: usize) -> String {
    let value = if total == 0 { 0.0 } else { 100.0 * n as f64 / total as f64 };
    // The formatter rounds the exact decimal value of the double half to even, as printf does.
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_decimals() {
        let cases = [
            (3, 4, "75.00"),
            (4, 7, "57.14"),
            (1, 3, "33.33"),
            (2, 3, "66.67"),
            (0, 9, "0.00"),
            (0, 0, "0.00"),
            (9, 0, "0.00"),
            (u64::MAX, u64::MAX, "100.00"),
        ];
        for (n, total, text) in cases {
            assert_eq!(percent(n, total, 2), text, "{n} of {total}");
        }
    }

    #[test]
    fn exact_ties_go_to_even() {
        // 100 n / 800 = n / 8: the eighths .125, .375, .625, .875 are exact ties for two decimals.
        let ties = [(1, "0.12"), (3, "0.38"), (5, "0.62"), (7, "0.88"), (9, "1.12"), (801, "100.12")];
        for (n, text) in ties {
            assert_eq!(percent(n, 800, 2), text, "{n} of 800");
        }
        // 100 n / 12800000 = n / 128000 = n 0.0000078125: a tie at six decimals for n = 16.
        assert_eq!(percent(16, 12_800_000, 6), "0.000125");
        assert_eq!(percent(1, 1_280_000_000, 6), "0.000000");
    }

    #[test]
    fn near_ties_go_by_the_exact_value_of_the_double() {
        // 100 * 67 / 4000 is 1.675, whose double is a little above; 100 * 23 / 2000 = 1.15 exactly two decimals.
        assert_eq!(format!("{:.20}", 1.675f64), "1.67500000000000004441");
        assert_eq!(percent(67, 4000, 2), "1.68");
        // 1.005 is a little below its name.
        assert_eq!(format!("{:.20}", 1.005f64), "1.00499999999999989342");
        assert_eq!(percent(201, 20_000, 2), "1.00");
        assert_eq!(percent(23, 2000, 2), "1.15");
    }

    #[test]
    fn six_decimals() {
        assert_eq!(percent(48, 96, 6), "50.000000");
        assert_eq!(percent(1, 3, 6), "33.333333");
        assert_eq!(percent(2, 3, 6), "66.666667");
    }
}
