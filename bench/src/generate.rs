//! Generates signals: the input of every measurement, the same bytes for the same count on every machine.
//!
//! Signals leave a fleet of coffee machines during the six hours from [`START_HOUR`]; they stand in the order in which they
//! were received. One in fifty was held back by its machine, for up to hours, so it belongs to an older hour than its
//! neighbours.

use std::io::{self, Write};

/// What machines report. [`crate::kept_names`] are ten of them.
pub const NAMES: [&str; 50] = [
    "BeanHopperEmpty",
    "BeanHopperFilled",
    "BoilerHeating",
    "BoilerReady",
    "BoilerTooHot",
    "BrewAborted",
    "BrewCompleted",
    "BrewPaused",
    "BrewStarted",
    "BrewUnitCleaned",
    "CardReaderOffline",
    "CardReaderOnline",
    "ConfigurationChanged",
    "CupDetected",
    "CupDispensed",
    "CupStackEmpty",
    "DescaleCompleted",
    "DescaleRequired",
    "DescaleStarted",
    "DisplayTouched",
    "DoorClosed",
    "DoorOpened",
    "DripTrayFull",
    "DripTrayEmptied",
    "EnergySaveEntered",
    "EnergySaveLeft",
    "FilterReplaced",
    "FilterWornOut",
    "FirmwareUpdated",
    "GrinderJammed",
    "GrinderStarted",
    "GrinderStopped",
    "GroundsContainerFull",
    "Heartbeat",
    "MilkCircuitRinsed",
    "MilkTankEmpty",
    "MilkTankFilled",
    "NetworkLost",
    "NetworkRestored",
    "PaymentAccepted",
    "PaymentRefused",
    "PowerOff",
    "PowerOn",
    "PumpPressureHigh",
    "PumpPressureLow",
    "RecipeSelected",
    "SteamWandUsed",
    "TelemetrySample",
    "WaterTankEmpty",
    "WaterTankFilled",
];

/// The first hour of event time, on the 4th of March 2026, UTC.
pub const START_HOUR: u64 = 6;
const SPAN_MS: u64 = 6 * 3_600_000;
const MODELS: [(&str, &str); 4] =
    [("barista-one", "BO-1100"), ("barista-pro", "BP-2210"), ("office-mini", "OM-0450"), ("filter-max", "FM-3300")];
const TIMEZONES: [&str; 4] = ["+01:00", "+02:00", "-05:00", "+09:00"];

/// Writes `count` signals, a line each.
pub fn generate(count: u64, out: &mut impl Write) -> io::Result<()> {
    let mut random = SplitMix(0x1a6e_9047);
    for n in 0..count {
        let server_ms = SPAN_MS * n / count;
        let held_back = if random.below(50) == 0 { random.below(SPAN_MS) } else { random.below(1_500) };
        let signal_ms = server_ms.saturating_sub(held_back);
        let name = NAMES[random.below(NAMES.len() as u64) as usize];
        let machine = random.below(20_000);
        let (product, part) = MODELS[(machine % 4) as usize];
        let timezone = TIMEZONES[(machine / 4 % 4) as usize];
        let (temperature, water) = (random.below(500) + 500, random.below(101));
        write!(out, r#"{{"name":"{name}","signalTime":"{}","serverTime":"{}""#, Time(signal_ms), Time(server_ms))?;
        write!(out, r#","timezone":"{timezone}","version":"1.4","productId":"{product}","partNumber":"{part}""#)?;
        write!(out, r#","deviceId":"cm-{machine:05}","serialNumber":"SN{:07}""#, machine * 37 + 1_000_000)?;
        write!(out, r#","assetId":"a-{:04}","temperature":{}.{}"#, machine / 5, temperature / 10, temperature % 10)?;
        writeln!(out, r#","waterLevel":{water}}}"#)?;
    }
    Ok(())
}

/// Milliseconds after [`START_HOUR`], shown as RFC 3339.
struct Time(u64);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (hour, minute) = (START_HOUR + self.0 / 3_600_000, self.0 / 60_000 % 60);
        write!(f, "2026-03-04T{hour:02}:{minute:02}:{:02}.{:03}Z", self.0 / 1_000 % 60, self.0 % 1_000)
    }
}

/// Steele, Lea and Flood's SplitMix64: small, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `limit`; the bias is below 2⁻³² for the limits used here.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u64) -> Vec<serde_json::Value> {
        let mut bytes = Vec::new();
        generate(count, &mut bytes).unwrap();
        bytes.split_inclusive(|b| *b == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    #[test]
    fn the_same_count_gives_the_same_bytes() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        generate(1_000, &mut first).unwrap();
        generate(1_000, &mut second).unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn a_signal_has_about_300_bytes() {
        let mut bytes = Vec::new();
        generate(10_000, &mut bytes).unwrap();
        let mean = bytes.len() / 10_000;
        assert!((285..=315).contains(&mean), "mean is {mean}");
    }

    #[test]
    fn names_are_even_and_the_kept_ones_are_among_them() {
        let lines = lines(50_000);
        for name in NAMES {
            let count = lines.iter().filter(|line| line["name"] == name).count();
            assert!((800..=1_200).contains(&count), "{name} occurs {count} times");
        }
        let kept = crate::kept_names();
        assert_eq!(kept.len(), 10);
        assert!(kept.iter().all(|name| NAMES.contains(&name.as_str())));
    }

    #[test]
    fn one_in_fifty_is_late_and_all_lie_within_six_hours() {
        let lines = lines(50_000);
        let hour =
            |line: &serde_json::Value, member: &str| line[member].as_str().unwrap()[11..13].parse::<u64>().unwrap();
        assert!(lines.iter().all(|line| (START_HOUR..START_HOUR + 6).contains(&hour(line, "signalTime"))));
        let late = lines.iter().filter(|line| hour(line, "signalTime") < hour(line, "serverTime")).count();
        assert!((300..=1_000).contains(&late), "{late} are in an older hour");
    }
}
