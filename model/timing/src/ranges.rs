//! How many commands one invalidation takes.

/// What the driver does about a span of pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Range {
    /// IDR3.RIL: NUM and SCALE of one command cover up to 31 times a power of two of pages.
    Ril,
    /// One TLBI_NH_VA per page, and from `CMDQ_MAX_TLBI_OPS` pages on one TLBI_NH_ASID.
    PerPage,
    /// The same before d5afb4b47e13: without the cap.
    PerPageUncapped,
}

/// `CMDQ_MAX_TLBI_OPS`: 2^(PAGE_SHIFT - 3) for pages of 4 KiB.
///
/// Source: commit d5afb4b47e13, drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3-sva.c.
pub const CMDQ_MAX_TLBI_OPS: u64 = 512;

/// Number of TLBI commands for a span of pages.
///
/// With RIL the driver takes the lowest set bit of the count as SCALE and up to five bits from there
/// as NUM + 1, and goes on with the rest.
/// Source: `__arm_smmu_tlb_inv_range()`, drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c.
pub fn commands(pages: u64, range: Range) -> u64 {
    match range {
        Range::PerPage if pages >= CMDQ_MAX_TLBI_OPS => 1,
        Range::PerPage | Range::PerPageUncapped => pages,
        Range::Ril => {
            let mut left = pages;
            let mut count = 0;
            while left != 0 {
                let scale = left.trailing_zeros();
                left -= ((left >> scale) & 31) << scale;
                count += 1;
            }
            count
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_ril_the_cost_is_linear_up_to_the_cliff() {
        for pages in 1..CMDQ_MAX_TLBI_OPS {
            assert_eq!(commands(pages, Range::PerPage), pages);
        }
        for pages in [512, 513, 4096, 1 << 20] {
            assert_eq!(commands(pages, Range::PerPage), 1);
            assert_eq!(commands(pages, Range::PerPageUncapped), pages);
        }
    }

    #[test]
    fn with_ril_it_is_the_groups_of_five_bits() {
        for (pages, count) in
            [(1, 1), (31, 1), (32, 1), (33, 2), (512, 1), (1 << 40, 1), (0x3ff, 2), (0x421, 3)]
        {
            assert_eq!(commands(pages, Range::Ril), count, "{pages} pages");
        }
    }
}
